"""The return scan: closes a loan, or checks in a copy that was reserved, on its way, lost or missing."""

from dataclasses import dataclass, replace
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.bookings.models import Booking
from app.books import service as books
from app.copies import queries as copies
from app.copies.models import Copy
from app.copies.service import CopyNotFound
from app.copies.statuses import CopyStatus
from app.core import metrics
from app.core.db import on_commit
from app.core.direct import refresh
from app.core.errors import Conflict
from app.loans import holding, queries
from app.loans.models import Loan, LoanStatus
from app.loans.service import dues, letters
from app.loans.service.scans import keep_scan, snapshot

Action = Literal["reshelve", "hold_shelf", "transfer"]


class ScanAgain(Conflict):
    code, detail = "scan_again", "This copy was lent a moment ago; scan it once more."


class CopyOutOfUse(Conflict):
    code, detail = "copy_out_of_use", "This copy is {state}; give it another status before it goes anywhere."


@dataclass(frozen=True, slots=True)
class Returned:
    """What to do with the copy now; `charged_minor` is what the reader owes for being late.

    `title` is the book's where a loan has ended.
    """

    action: Action
    copy: Copy
    booking: Booking | None = None
    to_branch: str | None = None
    title: str = ""
    loan: Loan | None = None
    charged_minor: int = 0
    scan_id: UUID | None = None


_OUT_OF_USE: Final = frozenset({CopyStatus.IN_REPAIR, CopyStatus.WITHDRAWN})
_FOUND: Final = frozenset({CopyStatus.LOST, CopyStatus.MISSING})


async def give_back(session: AsyncSession, *, barcode: str, branch_id: str, context: Context) -> Returned:
    """Take a copy back at a branch and say what to do with it. Scanning twice changes nothing.

    Locks the reader of an open or lost loan, then book and copy.

    Raises:
        CopyNotFound, CopyOutOfUse.
    """
    held = await _hold(session, barcode)
    if held.copy.status == CopyStatus.ON_LOAN:
        return await _end_loan(session, held, branch_id, context)
    copy = await _own(session, held.copy.id)
    if copy.status in _OUT_OF_USE:
        raise CopyOutOfUse(state=copy.status.replace("_", " "))
    if copy.status in _FOUND:
        return await _find_again(session, copy, branch_id, context)
    return await _check_in(session, copy, branch_id, context)


@dataclass(frozen=True, slots=True)
class _Held:
    """A copy as it stands under its locks; an object of nobody's session."""

    copy: Copy
    title: str
    debtor_id: UUID | None


async def _hold(session: AsyncSession, barcode: str) -> _Held:
    """The copy, locked after the reader who is charged for it (if any) and its book."""
    seen = await holding.seen(session, barcode)
    if seen is None:
        raise CopyNotFound
    debtor, book = seen.debtor_id, None
    if debtor is not None:
        book = await holding.reader_and_book(session, reader_id=debtor, book_id=seen.book_id)
        if book is None:
            raise bookings.ReaderNotFound
    if book is None or book.merged_into_id is not None:
        known = await copies.find(session, seen.id)
        if known is None:
            raise CopyNotFound
        book = await books.hold_of(session, known)
    books.present(book)
    row = await holding.copy(session, seen.id)
    if row is None or row.deleted_at:
        raise CopyNotFound
    now = await queries.debtor_of_copy(session, row.id) if row.status != CopyStatus.ON_LOAN else None
    if now not in {None, debtor}:
        # Lent to another reader between the look and the lock, and his row comes before the book's.
        raise ScanAgain
    return _Held(Copy(**row._asdict()), book.title, debtor)


async def _end_loan(session: AsyncSession, held: _Held, branch_id: str, context: Context) -> Returned:
    copy = held.copy
    found = await holding.before_returning(session, copy.id)
    assert found is not None, "a copy on loan has an open loan (invariant 5)"
    if found.reader_id != held.debtor_id:
        raise ScanAgain
    loan = Loan(**{name: getattr(found, name) for name in holding.LOAN})
    before = await snapshot(session, copy, is_promised=found.promised_booking_id is not None)
    before.loan = {"due_at": loan.due_at.isoformat(), "renewals": loan.renewals}
    loan.status = LoanStatus.RETURNED
    loan.returned_at = context.now
    await holding.end_loan(session, loan_id=loan.id, now=context.now)
    change = Change("loan_returned", book_id=copy.book_id, copy_id=copy.id, loan_id=loan.id, branch_id=branch_id)
    await audit.record(session, change, actor=context.actor, now=context.now)
    charged = await dues.charge_overdue(session, loan=loan, context=context)
    await letters.take_back(session, loan=loan)
    on_commit(session, metrics.returns_total.inc)
    scan_id = await keep_scan(session, kind="return", copy=copy, before=before, loan=loan, context=context)
    if found.waiting_booking_id is None:
        copy.at_branch_id = branch_id
        bookings.send_home(copy, in_hand=True)
        await holding.place_copy(session, copy)
        answer = _answer(copy, None)
    else:
        answer = await _hand_on(session, await _own(session, copy.id), branch_id, context)
    await refresh(session, Copy, copy.id)
    await refresh(session, Loan, loan.id)
    return replace(answer, title=held.title, loan=loan, charged_minor=charged, scan_id=scan_id)


async def _own(session: AsyncSession, copy_id: int) -> Copy:
    """The copy, which is locked already, as an object of the session."""
    copy = await copies.locked(session, copy_id)
    assert copy is not None, "it is locked already"
    return copy


async def _find_again(session: AsyncSession, copy: Copy, branch_id: str, context: Context) -> Returned:
    """A lost or missing copy turned up: the price is reversed, being late up to the cap is charged instead."""
    was = copy.status
    loan = await queries.lost_of_copy(session, copy.id) if was == CopyStatus.LOST else None
    charged = 0
    if loan is not None:
        loan.status = LoanStatus.RETURNED
        loan.returned_at = context.now
        charged = await dues.settle_found(session, loan=loan, context=context)
    change = Change(
        "loan_found" if loan else "copy_found",
        book_id=copy.book_id,
        copy_id=copy.id,
        loan_id=loan.id if loan else None,
        branch_id=branch_id,
    )
    await audit.record(session, change, actor=context.actor, now=context.now, data={"was": was})
    answer = await _hand_on(session, copy, branch_id, context)
    return replace(answer, loan=loan, charged_minor=charged)


async def _check_in(session: AsyncSession, copy: Copy, branch_id: str, context: Context) -> Returned:
    booking = await booking_queries.promised(session, copy.id)
    is_here = copy.at_branch_id == branch_id
    if copy.status == CopyStatus.ON_HOLD_SHELF and is_here:
        return Returned("hold_shelf", copy, booking)
    if copy.status == CopyStatus.AVAILABLE and branch_id == copy.branch_id:
        return Returned("reshelve", copy)
    if copy.status == CopyStatus.IN_TRANSIT and is_here and copy.transit_to_id != branch_id:
        return Returned("transfer", copy, booking, copy.transit_to_id)
    if booking is None:
        await _note_arrival(session, copy, branch_id, context)
        return await _hand_on(session, copy, branch_id, context)
    copy.at_branch_id = branch_id
    await bookings.promise(session, booking=booking, copy=copy, in_hand=True, context=context)
    return _answer(copy, booking)


async def _hand_on(
    session: AsyncSession,
    copy: Copy,
    branch_id: str,
    context: Context,
) -> Returned:
    copy.at_branch_id = branch_id
    booking = await bookings.pass_on(session, copy=copy, in_hand=True, context=context)
    return _answer(copy, booking)


def _answer(copy: Copy, booking: Booking | None) -> Returned:
    if copy.status == CopyStatus.ON_HOLD_SHELF:
        return Returned("hold_shelf", copy, booking)
    if copy.status == CopyStatus.IN_TRANSIT:
        return Returned("transfer", copy, booking, copy.transit_to_id)
    return Returned("reshelve", copy)


async def _note_arrival(session: AsyncSession, copy: Copy, branch_id: str, context: Context) -> None:
    change = Change("copy_arrived", book_id=copy.book_id, copy_id=copy.id, branch_id=branch_id)
    await audit.record(session, change, actor=context.actor, now=context.now)
