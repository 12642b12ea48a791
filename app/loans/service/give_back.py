"""The return scan: closes a loan, or checks in a copy that was reserved, on its way, lost or missing."""

from dataclasses import dataclass
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
from app.copies.models import Copy, CopyStatus
from app.copies.service import CopyNotFound
from app.core import metrics
from app.core.db import on_commit
from app.core.errors import Conflict
from app.loans import queries
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
    """What to do with the copy now; `charged_minor` is what the reader owes for being late."""

    action: Action
    copy: Copy
    booking: Booking | None = None
    to_branch: str | None = None
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
    copy = await _hold(session, barcode)
    if copy.status in _OUT_OF_USE:
        raise CopyOutOfUse(state=copy.status.replace("_", " "))
    if copy.status == CopyStatus.ON_LOAN:
        return await _end_loan(session, copy, branch_id, context)
    if copy.status in _FOUND:
        return await _find_again(session, copy, branch_id, context)
    return await _check_in(session, copy, branch_id, context)


async def _hold(session: AsyncSession, barcode: str) -> Copy:
    """The copy, locked after the reader who is charged for it (if any) and its book."""
    seen = await copies.find_by_barcode(session, barcode)
    if seen is None:
        raise CopyNotFound
    debtor = await queries.debtor_of_copy(session, seen.id)
    if debtor is not None:
        await bookings.hold_reader(session, debtor)
    await books.hold_of(session, seen)
    copy = await copies.locked(session, seen.id)
    if copy is None or copy.deleted_at:
        raise CopyNotFound
    if await queries.debtor_of_copy(session, copy.id) not in {None, debtor}:
        # Lent to another reader between the look and the lock, and his row comes before the book's.
        raise ScanAgain
    return copy


async def _end_loan(session: AsyncSession, copy: Copy, branch_id: str, context: Context) -> Returned:
    loan = await queries.open_of_copy(session, copy.id)
    assert loan is not None, "a copy on loan has an open loan (invariant 5)"
    before = await snapshot(session, copy)
    before.loan = {"due_at": loan.due_at.isoformat(), "renewals": loan.renewals}
    loan.status = LoanStatus.RETURNED
    loan.returned_at = context.now
    change = Change("loan_returned", book_id=copy.book_id, copy_id=copy.id, loan_id=loan.id, branch_id=branch_id)
    audit.record(session, change, actor=context.actor, now=context.now)
    charged = await dues.charge_overdue(session, loan=loan, context=context)
    await letters.take_back(session, loan=loan)
    on_commit(session, metrics.returns_total.inc)
    scan_id = await keep_scan(session, kind="return", copy=copy, before=before, loan=loan, context=context)
    return await _hand_on(session, copy, branch_id, context, loan=loan, charged_minor=charged, scan_id=scan_id)


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
    audit.record(session, change, actor=context.actor, now=context.now, data={"was": was})
    return await _hand_on(session, copy, branch_id, context, loan=loan, charged_minor=charged)


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
        _note_arrival(session, copy, branch_id, context)
        return await _hand_on(session, copy, branch_id, context)
    copy.at_branch_id = branch_id
    await bookings.promise(session, booking=booking, copy=copy, in_hand=True, context=context)
    return _answer(copy, booking)


async def _hand_on(
    session: AsyncSession,
    copy: Copy,
    branch_id: str,
    context: Context,
    *,
    loan: Loan | None = None,
    charged_minor: int = 0,
    scan_id: UUID | None = None,
) -> Returned:
    copy.at_branch_id = branch_id
    booking = await bookings.pass_on(session, copy=copy, in_hand=True, context=context)
    answer = _answer(copy, booking)
    return Returned(answer.action, copy, booking, answer.to_branch, loan, charged_minor, scan_id)


def _answer(copy: Copy, booking: Booking | None) -> Returned:
    if copy.status == CopyStatus.ON_HOLD_SHELF:
        return Returned("hold_shelf", copy, booking)
    if copy.status == CopyStatus.IN_TRANSIT:
        return Returned("transfer", copy, booking, copy.transit_to_id)
    return Returned("reshelve", copy)


def _note_arrival(session: AsyncSession, copy: Copy, branch_id: str, context: Context) -> None:
    change = Change("copy_arrived", book_id=copy.book_id, copy_id=copy.id, branch_id=branch_id)
    audit.record(session, change, actor=context.actor, now=context.now)
