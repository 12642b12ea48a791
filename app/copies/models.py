"""Copies (items): what stands on the shelf, with a barcode."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.copies.statuses import CopyStatus
from app.core.db import Base, BigId, UtcDateTime

_STATUSES = ", ".join(f"'{status}'" for status in CopyStatus)


class Copy(Base):
    """One copy of a book. `status` is the truth about where it is; loans and bookings agree with it."""

    __tablename__ = "copies"

    id: Mapped[int] = mapped_column(BigId, Identity(always=False), primary_key=True)
    version: Mapped[int]
    book_id: Mapped[int] = mapped_column(BigId, ForeignKey("books.id"))
    barcode: Mapped[str] = mapped_column(String(64))
    call_number: Mapped[str | None] = mapped_column(String(200))
    branch_id: Mapped[str] = mapped_column(ForeignKey("branches.id"))
    # Where it was last seen, and, in transit only, where it is going; the home is branch_id.
    at_branch_id: Mapped[str] = mapped_column(ForeignKey("branches.id"))
    transit_to_id: Mapped[str | None] = mapped_column(ForeignKey("branches.id"))
    shelf_location: Mapped[str | None] = mapped_column(String(200))
    item_type: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    price_minor: Mapped[int | None]
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        CheckConstraint("price_minor >= 0", name="price"),
        CheckConstraint("(status = 'in_transit') = (transit_to_id IS NOT NULL)", name="transit"),
        # The barcode of a removed copy may be stuck on another one.
        Index(
            "uq_copies_barcode",
            "barcode",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
            sqlite_where=text("deleted_at IS NULL"),
        ),
        Index("ix_copies_book_id_status", "book_id", "status"),
        Index("ix_copies_branch_id_status", "branch_id", "status"),
        Index(
            "ix_copies_at_branch_id_reserved",
            "at_branch_id",
            postgresql_where=text("status = 'reserved'"),
            sqlite_where=text("status = 'reserved'"),
        ),
        {"sqlite_autoincrement": True},
    )
