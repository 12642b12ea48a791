"""When a waiting reader may expect his copy: from the due dates of the copies out, and how long they stay out."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.models import Booking, BookingStatus
from app.loans import queries

FALLBACK_DAYS: Final = 28
CONSIDERED: Final = 50


async def expectations(
    session: AsyncSession, *, bookings: Collection[Booking], ahead: dict[UUID, int]
) -> dict[UUID, datetime]:
    """For each waiting booking the expected instant; none where no copy is on loan. Two statements, however many.

    Copies come back in the order of their due dates; when there are more readers than copies, each round takes as long
    as the last loans of the book took.
    """
    waiting = [booking for booking in bookings if booking.status == BookingStatus.WAITING]
    book_ids = {booking.book_id for booking in waiting}
    if not book_ids:
        return {}
    due: dict[int, list[datetime]] = defaultdict(list)
    for book_id, due_at in await queries.due_dates(session, book_ids=book_ids, per_book=CONSIDERED):
        due[book_id].append(due_at)
    lengths: dict[int, list[timedelta]] = defaultdict(list)
    for book_id, lent_at, returned_at in await queries.recent_loans(session, book_ids=book_ids, per_book=CONSIDERED):
        lengths[book_id].append(returned_at - lent_at)
    return {
        booking.id: _expected(due[booking.book_id], lengths[booking.book_id], ahead[booking.id])
        for booking in waiting
        if due[booking.book_id]
    }


def _expected(due: Sequence[datetime], lengths: Sequence[timedelta], ahead: int) -> datetime:
    rounds, place = divmod(ahead, len(due))
    typical = sum(lengths, timedelta()) / len(lengths) if lengths else timedelta(days=FALLBACK_DAYS)
    return due[place] + rounds * typical
