"""Changing a booking: cancelling, suspending, resuming, and letting it expire. Each locks the book first."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings import queries
from app.bookings.context import Context
from app.bookings.models import OPEN, PROMISED, Booking, BookingStatus
from app.bookings.service import handover, letters
from app.books import service as books
from app.copies import queries as copies
from app.core.errors import Conflict, NotFound


class BookingNotFound(NotFound):
    code, detail = "booking_not_found", "There is no such booking."


class BookingClosed(Conflict):
    code, detail = "booking_closed", "This booking is {state} already."


class BookingNotWaiting(Conflict):
    code, detail = "booking_not_waiting", "Only a booking that waits can be suspended; this one is {state}."


class BookingNotSuspended(Conflict):
    code, detail = "booking_not_suspended", "This booking is not suspended; it is {state}."


Owner = Callable[[Booking], bool]
"""Whether the booking is one that the caller may change; "not yours" looks like "not there"."""


async def cancel(
    session: AsyncSession, *, booking_id: UUID, is_mine: Owner, context: Context, reason: str | None = None
) -> Booking:
    """Cancel an open booking; the copy promised to it goes to the next in line.

    Raises:
        BookingNotFound, BookingClosed.
    """
    booking = await _hold(session, booking_id, is_mine)
    await _close(session, booking, BookingStatus.CANCELLED, context, reason=reason)
    return booking


async def expire(session: AsyncSession, *, booking_id: UUID, context: Context) -> bool:
    """Let a ready booking go whose time to collect is over; False if that is not so any more. Idempotent."""
    booking = await _hold(session, booking_id, lambda _: True, must_be_open=False)
    if booking.status != BookingStatus.READY or booking.pickup_until is None or booking.pickup_until >= context.now:
        return False
    await _close(session, booking, BookingStatus.EXPIRED, context)
    return True


async def suspend(
    session: AsyncSession, *, booking_id: UUID, is_mine: Owner, until: date | None, context: Context
) -> Booking:
    """Let others go first until the booking is resumed (by hand, or on the day `until`); the place is kept.

    Raises:
        BookingNotFound, BookingClosed, BookingNotWaiting.
    """
    booking = await _hold(session, booking_id, is_mine)
    if booking.status == BookingStatus.SUSPENDED:
        booking.suspended_until = until
        return booking
    if booking.status != BookingStatus.WAITING:
        raise BookingNotWaiting(state=booking.status)
    booking.status = BookingStatus.SUSPENDED
    booking.suspended_until = until
    await handover.note(session, "booking_suspended", booking, context)
    return booking


async def resume(session: AsyncSession, *, booking_id: UUID, is_mine: Owner, context: Context) -> Booking:
    """Wait again, in the old place; a copy that is free meanwhile is promised at once.

    Raises:
        BookingNotFound, BookingClosed, BookingNotSuspended.
    """
    booking = await _hold(session, booking_id, is_mine)
    if booking.status != BookingStatus.SUSPENDED:
        raise BookingNotSuspended(state=booking.status)
    booking.status = BookingStatus.WAITING
    booking.suspended_until = None
    await handover.note(session, "booking_resumed", booking, context)
    await handover.settle(session, book_id=booking.book_id, context=context)
    return booking


async def withdraw(session: AsyncSession, *, booking: Booking, context: Context, reason: str) -> None:
    """Cancel a booking that the caller holds with its book; its copy goes on."""
    await _close(session, booking, BookingStatus.CANCELLED, context, reason=reason)


async def _hold(session: AsyncSession, booking_id: UUID, is_mine: Owner, *, must_be_open: bool = True) -> Booking:
    """The booking, locked after its book, as it stands now; a merge may have moved it meanwhile."""
    seen = await queries.find(session, booking_id)
    if seen is None or not is_mine(seen):
        raise BookingNotFound
    await books.hold_of(session, seen)
    booking = await queries.locked(session, booking_id)
    if booking is None:
        raise BookingNotFound
    if must_be_open and booking.status not in OPEN:
        raise BookingClosed(state=booking.status)
    return booking


async def _close(
    session: AsyncSession, booking: Booking, status: BookingStatus, context: Context, *, reason: str | None = None
) -> None:
    copy = await copies.locked(session, booking.copy_id) if booking.copy_id is not None else None
    was_promised = booking.status in PROMISED
    booking.status = status
    booking.copy_id = None
    booking.pickup_until = None
    booking.closed_at = context.now
    copy_id = copy.id if copy else None
    await handover.note(session, f"booking_{status}", booking, context, copy_id=copy_id, reason=reason)
    await letters.take_back(session, booking=booking)
    if status is BookingStatus.EXPIRED:
        await letters.tell_expired(session, booking=booking, context=context)
    if copy is not None and was_promised:
        await handover.pass_on(session, copy=copy, in_hand=False, context=context)
