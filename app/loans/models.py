"""Loans: a copy with a reader until it is returned or lost, on terms frozen at issue; and the desk's scans."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, BigId, Document, UtcDateTime


class LoanStatus(StrEnum):
    OPEN = "open"
    RETURNED = "returned"
    LOST = "lost"


_IS_OPEN: Final = text("status = 'open'")


class Loan(Base):
    """A loan; overdue is derived from `due_at`. `terms` are the policy's at issue.

    `reader_id` fades after the return once the retention has passed, unless the reader keeps his history.
    """

    __tablename__ = "loans"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    copy_id: Mapped[int] = mapped_column(BigId, ForeignKey("copies.id"))
    book_id: Mapped[int] = mapped_column(BigId, ForeignKey("books.id"))
    reader_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("users.id"))
    branch_id: Mapped[str] = mapped_column(ForeignKey("branches.id"))
    status: Mapped[str] = mapped_column(String(16))
    checked_out_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    claimed_returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    recalled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    renewals: Mapped[int]
    terms: Mapped[dict[str, Any]] = mapped_column(Document)

    __table_args__ = (
        CheckConstraint("status IN ('open', 'returned', 'lost')", name="status"),
        CheckConstraint("(status = 'returned') = (returned_at IS NOT NULL)", name="returned"),
        CheckConstraint("status <> 'open' OR reader_id IS NOT NULL", name="reader"),
        Index("uq_loans_copy_id", "copy_id", unique=True, postgresql_where=_IS_OPEN, sqlite_where=_IS_OPEN),
        Index("ix_loans_reader_id_open", "reader_id", postgresql_where=_IS_OPEN, sqlite_where=_IS_OPEN),
        Index("ix_loans_due_at_open", "due_at", "id", postgresql_where=_IS_OPEN, sqlite_where=_IS_OPEN),
        Index("ix_loans_reader_id_id", "reader_id", "id"),
        Index("ix_loans_copy_id_id", "copy_id", "id"),
        Index("ix_loans_book_id_status", "book_id", "status", "due_at"),
    )


class Scan(Base):
    """What a scan at the desk did, with what it found before, so that a wrong one can be taken back."""

    __tablename__ = "scans"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    copy_id: Mapped[int] = mapped_column(BigId, ForeignKey("copies.id"))
    scanned_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[UUID | None] = mapped_column(Uuid)
    before: Mapped[dict[str, Any]] = mapped_column(Document)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint("kind IN ('lend', 'return')", name="kind"),
        Index("ix_scans_copy_id_id", "copy_id", "id"),
        Index("ix_scans_scanned_at", "scanned_at"),
    )
