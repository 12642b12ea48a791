"""Taking back a wrong scan: within ten minutes, and only while it is the last thing that happened to the copy."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.bookings.models import OPEN, Booking, BookingStatus
from app.books import service as books
from app.charges import service as charges
from app.copies import queries as copies
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.errors import Conflict, NotFound
from app.loans import queries
from app.loans.models import Loan, LoanStatus, Scan
from app.loans.service import letters

UNDO_MINUTES: Final = 10


class ScanNotFound(NotFound):
    code, detail = "scan_not_found", "There is no such scan."


class ScanTooOld(Conflict):
    code, detail = "scan_too_old", "A scan can be taken back for ten minutes; that time has passed."


class ScanOvertaken(Conflict):
    code, detail = "scan_overtaken", "Something else has happened since then; this scan can't be taken back."


async def undo(session: AsyncSession, *, scan_id: UUID, context: Context) -> Scan:
    """Take back a loan or a return. Locks reader, book, copy. Undoing twice changes nothing.

    A loan is closed without a charge and the copy and booking stand as before; a return is opened again, its charge
    reversed, and whoever got the copy waits again in his old place.

    Raises:
        ScanNotFound, ScanTooOld, ScanOvertaken.
    """
    scan, loan, copy = await _hold(session, scan_id)
    if scan.undone_at:
        return scan
    if scan.scanned_at < context.now - timedelta(minutes=UNDO_MINUTES):
        raise ScanTooOld
    if await queries.last_scan(session, copy.id) != scan.id:
        raise ScanOvertaken
    if scan.kind == "lend":
        await _undo_loan(session, scan, loan, copy, context)
    else:
        await _undo_return(session, scan, loan, copy, context)
    scan.undone_at = context.now
    await session.flush()
    return scan


async def _hold(session: AsyncSession, scan_id: UUID) -> tuple[Scan, Loan, Copy]:
    scan = await queries.scan(session, scan_id)
    if scan is None:
        raise ScanNotFound
    seen = await queries.find(session, UUID(scan.before["loan"]["id"]))
    if seen is None or seen.reader_id is None:
        raise ScanOvertaken
    await bookings.hold_reader(session, seen.reader_id)
    await books.hold_of(session, seen)
    copy = await copies.locked(session, seen.copy_id)
    loan = await queries.locked(session, seen.id)
    if loan is None or copy is None:
        raise ScanOvertaken
    return scan, loan, copy


async def _undo_loan(session: AsyncSession, scan: Scan, loan: Loan, copy: Copy, context: Context) -> None:
    if loan.status != LoanStatus.OPEN or loan.renewals:
        raise ScanOvertaken
    loan.status = LoanStatus.RETURNED
    loan.returned_at = context.now
    await _note(session, "loan_undone", loan, context)
    await letters.take_back(session, loan=loan)
    copy.at_branch_id = scan.before["at_branch_id"]
    copy.status = CopyStatus.AVAILABLE
    await session.flush()
    kept = scan.before["booking"]
    booking = await _booking_before(session, kept)
    if booking is None:
        await bookings.pass_on(session, copy=copy, in_hand=True, context=context)
        return
    # The booking that this loan fulfilled or displaced gets the copy back, if nothing better came to it meanwhile.
    booking.closed_at = None
    was_suspended = kept["status"] == BookingStatus.SUSPENDED
    booking.status = BookingStatus.SUSPENDED if was_suspended else BookingStatus.WAITING
    await session.flush()
    if kept["copy_id"] == copy.id:
        await bookings.promise(session, booking=booking, copy=copy, in_hand=True, context=context)
        return
    await bookings.note(session, "booking_reopened", booking, context)
    await bookings.pass_on(session, copy=copy, in_hand=True, context=context)
    await bookings.settle(session, book_id=copy.book_id, context=context)


async def _booking_before(session: AsyncSession, kept: dict[str, Any] | None) -> Booking | None:
    """The booking as it may be reopened: fulfilled by this loan, or waiting again because of it.

    One that was fulfilled stays closed if its reader has booked or borrowed the book anew meanwhile.
    """
    if kept is None:
        return None
    booking = await booking_queries.locked(session, UUID(kept["id"]))
    if booking is None or booking.status not in {BookingStatus.FULFILLED, BookingStatus.WAITING}:
        return None
    if booking.status == BookingStatus.FULFILLED and booking.reader_id is not None:
        reader_id, book_id = booking.reader_id, booking.book_id
        has_booked = await booking_queries.open_of(session, reader_id=reader_id, book_id=book_id)
        if has_booked or await queries.has_book(session, reader_id=reader_id, book_id=book_id):
            return None
    return booking


async def _undo_return(session: AsyncSession, scan: Scan, loan: Loan, copy: Copy, context: Context) -> None:
    if loan.status != LoanStatus.RETURNED or copy.status == CopyStatus.ON_LOAN or loan.reader_id is None:
        raise ScanOvertaken
    own = await booking_queries.open_of(session, reader_id=loan.reader_id, book_id=copy.book_id)
    is_set_aside = copy.deleted_at or copy.status in {CopyStatus.IN_REPAIR, CopyStatus.MISSING, CopyStatus.WITHDRAWN}
    if own is not None or is_set_aside:
        raise ScanOvertaken
    holder = await booking_queries.promised(session, copy.id)
    if holder is not None and holder.status in OPEN:
        await bookings.back_to_queue(session, booking=holder, context=context, reason="return undone")
    loan.status = LoanStatus.OPEN
    loan.returned_at = None
    loan.due_at = datetime.fromisoformat(scan.before["loan"]["due_at"])
    copy.status = CopyStatus.ON_LOAN
    copy.at_branch_id = scan.before["at_branch_id"]
    copy.transit_to_id = None
    for entry in await charges.of_loan(session, loan_id=loan.id):
        if entry.reason == "overdue" and entry.created_at >= scan.scanned_at:
            await charges.reverse(session, entry_id=entry.id, now=context.now, actor=context.actor.pseudonym)
    await _note(session, "return_undone", loan, context)
    await session.flush()
    if holder is not None:
        await bookings.settle(session, book_id=copy.book_id, context=context)


async def _note(session: AsyncSession, kind: str, loan: Loan, context: Context) -> None:
    change = Change(kind, book_id=loan.book_id, copy_id=loan.copy_id, loan_id=loan.id, branch_id=loan.branch_id)
    await audit.record(session, change, actor=context.actor, now=context.now)
