"""What placing a booking finds and writes, in as few statements as that takes."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.models import Booking
from app.bookings.queries import IS_OPEN
from app.core.direct import Direct
from app.core.functions import database_clock

_COLUMNS: Final = tuple(column.key for column in Booking.__table__.columns)
_BOOKED: Final = Direct(select(Booking.book_id).where(Booking.reader_id == bindparam("reader_id"), IS_OPEN))
_LAST: Final = (
    select(Booking.placed_at)
    .where(Booking.book_id == bindparam("book_id"))
    .order_by(Booking.placed_at.desc())
    .limit(1)
    .scalar_subquery()
)
_NEXT_PLACE: Final = Direct(select(database_clock().label("clock"), _LAST.label("last")))
_WRITE: Final = Direct(insert(Booking), columns=_COLUMNS)


async def booked(session: AsyncSession, reader_id: UUID) -> list[int]:
    """The books for which the reader has an open booking: as many as he was ever allowed. The caller has locked him."""
    return [row.book_id for row in await _BOOKED.all(session, reader_id=reader_id)]


async def next_place(session: AsyncSession, book_id: int) -> datetime:
    """The instant at which a booking takes its place: the database's clock, and after everybody who was there before.

    The caller has locked the book, so that no two take one place, and a clock that was set back lets nobody jump.
    """
    now = await _NEXT_PLACE.one(session, book_id=book_id)
    clock: datetime = now.clock
    return max(clock, now.last + timedelta(microseconds=1)) if now.last else clock


async def write(session: AsyncSession, booking: Booking) -> None:
    """Write a new booking. The object doesn't become the session's."""
    await _WRITE.write(session, **{name: getattr(booking, name) for name in _COLUMNS})
