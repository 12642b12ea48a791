"""What readers are told of their bookings: notices in the outbox, in the transaction of what they tell."""

from datetime import date
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings import queries
from app.bookings.context import Context
from app.bookings.models import Booking, BookingStatus
from app.books import queries as books
from app.branches import service as branches
from app.notifications import service as notifications
from app.notifications.models import Kind


def prefix(booking_id: UUID) -> str:
    """The beginning of every cause that is about this booking."""
    return f"booking:{booking_id}:"


async def tell_ready(session: AsyncSession, *, booking: Booking, context: Context) -> None:
    """Tell the reader that his copy waits on the hold shelf, once each time that it gets there."""
    assert booking.pickup_until is not None
    branch = await branches.get(session, booking.pickup_branch_id)
    zone = ZoneInfo(branch.timezone or context.timezone)
    until = booking.pickup_until.astimezone(zone).date()
    step = f"ready:{context.now.isoformat()}"
    await _tell(session, Kind.BOOKING_READY, step, booking, context, branch=branch.name, pickup_until_on=until)


async def tell_expired(session: AsyncSession, *, booking: Booking, context: Context) -> None:
    await _tell(session, Kind.BOOKING_EXPIRED, "expired", booking, context)


async def take_back(session: AsyncSession, *, booking: Booking) -> None:
    """What has not gone out yet is no longer true: the copy was collected, or is not there any more."""
    await notifications.withdraw(session, cause_prefix=prefix(booking.id))


async def is_still_ready(session: AsyncSession, booking_id: UUID) -> bool:
    """Whether "ready" is still true in the moment before it is sent."""
    booking = await queries.find(session, booking_id)
    return booking is not None and booking.status == BookingStatus.READY


async def _tell(
    session: AsyncSession, kind: Kind, step: str, booking: Booking, context: Context, **facts: str | date
) -> None:
    if booking.reader_id is None:
        return
    title = (await books.titles(session, [booking.book_id]))[booking.book_id]
    await notifications.enqueue(
        session,
        kind=kind,
        cause=f"{prefix(booking.id)}{step}",
        reader_id=booking.reader_id,
        payload={"title": title, **facts},
        now=context.now,
    )
