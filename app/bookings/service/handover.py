"""Handing copies over: whatever frees a copy gives it to the first reader in line, in the same transaction.

A copy is therefore never `available` while somebody who may take it waits, which is why a new booking may claim a free
copy without looking at the queue. Every function here expects the book and the copy to be locked by the caller.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import queries
from app.bookings.context import Context
from app.bookings.models import Booking, BookingStatus
from app.bookings.service import letters
from app.books import holding
from app.branches import service as branches
from app.copies import queries as copies
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.users.models import User


async def pass_on(session: AsyncSession, *, copy: Copy, in_hand: bool, context: Context) -> Booking | None:
    """Give a copy that lost its holder to the next in line, or send it home. Returns the booking that got it.

    `in_hand`: a member of staff holds the copy at `copy.at_branch_id`; otherwise it stays where it stands and its new
    state says what the staff has to do with it.
    """
    borrowers = context.rules.borrowers(item_type=copy.item_type, branch=copy.branch_id)
    booking = await queries.next_in_line(session, book_id=copy.book_id, borrowers=borrowers)
    if booking is None:
        send_home(copy, in_hand=in_hand)
        await session.flush()
        return None
    await promise(session, booking=booking, copy=copy, in_hand=in_hand, context=context)
    return booking


async def promise(session: AsyncSession, *, booking: Booking, copy: Copy, in_hand: bool, context: Context) -> None:
    """Promise a copy to a booking: on the hold shelf if it is in hand where it will be collected, else on its way."""
    if in_hand and copy.at_branch_id == booking.pickup_branch_id:
        await _put_on_hold_shelf(session, booking, copy, context)
        return
    if booking.status == BookingStatus.READY:  # it was carried off the shelf where its reader was told to come
        await letters.take_back(session, booking=booking)
    booking.copy_id = copy.id
    booking.status = BookingStatus.ALLOCATED
    booking.pickup_until = None
    if in_hand:
        _send(copy, booking.pickup_branch_id)
    elif copy.status != CopyStatus.IN_TRANSIT:
        copy.status = CopyStatus.RESERVED
    await note(session, "booking_allocated", booking, context, copy_id=copy.id)


async def settle(session: AsyncSession, *, book_id: int, context: Context) -> None:
    """Give every free copy of a book to whoever waits for it; for changes that free no copy but open a way to one.

    The caller has locked the book (resumed booking, added, restored or changed copy, changed policy or category).
    """
    if not await queries.is_wanted(session, book_id):
        return
    for copy in await copies.lock_free(session, book_id):
        await pass_on(session, copy=copy, in_hand=False, context=context)


async def settle_all(session: AsyncSession, *, context: Context) -> int:
    """The same for every book, after a change of the rules; gives for how many books it was looked at."""
    books = await queries.wanted_beside_free(session)
    for book_id in books:
        await holding.hold(session, book_id=book_id)
        await settle(session, book_id=book_id, context=context)
    return len(books)


async def back_to_queue(session: AsyncSession, *, booking: Booking, context: Context, reason: str) -> None:
    """Take a promise back: the booking waits again, in its old place, since `placed_at` stays."""
    copy_id = booking.copy_id
    booking.status = BookingStatus.WAITING
    booking.copy_id = None
    booking.pickup_until = None
    await note(session, "booking_requeued", booking, context, copy_id=copy_id, reason=reason)
    await letters.take_back(session, booking=booking)


async def note(
    session: AsyncSession,
    kind: str,
    booking: Booking,
    context: Context,
    *,
    copy_id: int | None = None,
    reason: str | None = None,
) -> None:
    """Record a booking's change of state and write it."""
    change = Change(
        kind,
        book_id=booking.book_id,
        copy_id=copy_id,
        booking_id=booking.id,
        branch_id=booking.pickup_branch_id,
    )
    await audit.record(session, change, actor=context.actor, now=context.now, reason=reason)
    await session.flush()


async def _put_on_hold_shelf(session: AsyncSession, booking: Booking, copy: Copy, context: Context) -> None:
    reader = await session.get_one(User, booking.reader_id)
    terms = context.rules.terms(category=reader.category, item_type=copy.item_type, branch=booking.pickup_branch_id)
    calendar = await branches.calendar(session, booking.pickup_branch_id, context.timezone)
    copy.status = CopyStatus.ON_HOLD_SHELF
    copy.transit_to_id = None
    booking.copy_id = copy.id
    booking.status = BookingStatus.READY
    booking.pickup_until = calendar.pickup_until(context.now, days=terms.pickup_days)
    await note(session, "booking_ready", booking, context, copy_id=copy.id)
    await letters.tell_ready(session, booking=booking, context=context)


def send_home(copy: Copy, *, in_hand: bool) -> None:
    """Where a copy goes that nobody waits for; the caller writes it."""
    if copy.at_branch_id == copy.branch_id and (in_hand or copy.status != CopyStatus.IN_TRANSIT):
        copy.status = CopyStatus.AVAILABLE
        copy.transit_to_id = None
    elif in_hand or copy.status != CopyStatus.IN_TRANSIT:
        _send(copy, copy.branch_id)


def _send(copy: Copy, branch_id: str) -> None:
    copy.status = CopyStatus.IN_TRANSIT
    copy.transit_to_id = branch_id
