"""Bookings (holds): a reader's place in the queue for a book, and the copy promised to him."""

from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, BigId, UtcDateTime


class BookingStatus(StrEnum):
    WAITING = "waiting"
    SUSPENDED = "suspended"
    ALLOCATED = "allocated"
    READY = "ready"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


OPEN: Final = (BookingStatus.WAITING, BookingStatus.SUSPENDED, BookingStatus.ALLOCATED, BookingStatus.READY)
PROMISED: Final = (BookingStatus.ALLOCATED, BookingStatus.READY)
NORMAL_PRIORITY: Final = 100

_IS_OPEN: Final = text("status IN ('waiting', 'suspended', 'allocated', 'ready')")
_IS_WAITING: Final = text("status = 'waiting'")


class Booking(Base):
    """A booking. The queue of a book is its waiting rows by (priority, placed_at, id); a place is never stored.

    `reader_id` fades once the booking is closed and its retention has passed.
    """

    __tablename__ = "bookings"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    reader_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("users.id"))
    book_id: Mapped[int] = mapped_column(BigId, ForeignKey("books.id"))
    copy_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("copies.id"))
    pickup_branch_id: Mapped[str] = mapped_column(ForeignKey("branches.id"))
    priority: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    placed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    pickup_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    suspended_until: Mapped[date | None]
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            "status IN ('waiting', 'suspended', 'allocated', 'ready', 'fulfilled', 'cancelled', 'expired')",
            name="status",
        ),
        CheckConstraint("(status IN ('allocated', 'ready')) = (copy_id IS NOT NULL)", name="promise"),
        CheckConstraint("(status = 'ready') = (pickup_until IS NOT NULL)", name="pickup"),
        CheckConstraint("(status IN ('fulfilled', 'cancelled', 'expired')) = (closed_at IS NOT NULL)", name="closed"),
        Index(
            "uq_bookings_reader_id_book_id", "reader_id", "book_id", unique=True,
            postgresql_where=_IS_OPEN, sqlite_where=_IS_OPEN,
        ),
        Index(
            "uq_bookings_copy_id", "copy_id", unique=True,
            postgresql_where=text("copy_id IS NOT NULL"), sqlite_where=text("copy_id IS NOT NULL"),
        ),
        Index(
            "ix_bookings_queue", "book_id", "priority", "placed_at", "id",
            postgresql_where=_IS_WAITING, sqlite_where=_IS_WAITING,
        ),
        Index("ix_bookings_reader_id_id", "reader_id", "id"),
        Index("ix_bookings_pickup_branch_id_status", "pickup_branch_id", "status", "id"),
        Index("ix_bookings_id_open", "id", postgresql_where=_IS_OPEN, sqlite_where=_IS_OPEN),
        Index(
            "ix_bookings_pickup_until_ready", "pickup_until",
            postgresql_where=text("status = 'ready'"), sqlite_where=text("status = 'ready'"),
        ),
        Index(
            "ix_bookings_suspended_until", "suspended_until", "id",
            postgresql_where=text("status = 'suspended'"), sqlite_where=text("status = 'suspended'"),
        ),
        Index("ix_bookings_book_id_placed_at", "book_id", "placed_at"),
    )  # fmt: skip
