"""While a copy is out: renewing, recalling, claiming that it was returned, and losing it."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.books import service as books
from app.branches import service as branches
from app.copies import queries as copies
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core import metrics
from app.core.db import on_commit
from app.core.errors import Conflict, NotFound
from app.loans import queries
from app.loans.models import Loan, LoanStatus
from app.loans.service import dues, letters
from app.users.models import User


class LoanNotFound(NotFound):
    code, detail = "loan_not_found", "There is no such loan."


class LoanClosed(Conflict):
    code, detail = "loan_closed", "This loan is {state} already."


class NoRenewalsLeft(Conflict):
    code, detail = "no_renewals_left", "This loan has been renewed {renewals} times, which is the limit."


class OthersWaiting(Conflict):
    code, detail = "others_waiting", "Other readers wait for this book, so it can't be renewed."


class LoanRecalled(Conflict):
    code, detail = "loan_recalled", "This copy has been recalled, so it can't be renewed."


class NothingToRecall(Conflict):
    code, detail = "nothing_to_recall", "No copy of this book is on loan."


Owner = Callable[[Loan], bool]
"""Whether the loan is one that the caller may see; "not yours" looks like "not there"."""

RECALL_DAYS = 7


async def renew(session: AsyncSession, *, loan_id: UUID, is_mine: Owner, context: Context) -> Loan:
    """Prolong a loan by its terms, counted from now; never to an earlier date. Locks reader, book, loan.

    Raises:
        LoanNotFound, LoanClosed, CardExpired, ReaderBlocked, NoRenewalsLeft, LoanRecalled, OthersWaiting.
    """
    loan, copy = await _hold(session, loan_id, is_mine)
    reader = await session.get_one(User, loan.reader_id)
    bookings.check_standing(reader, context=context)
    if loan.renewals >= loan.terms["renewals"]:
        raise NoRenewalsLeft(renewals=loan.renewals)
    if loan.recalled_at:
        raise LoanRecalled
    borrowers = context.rules.borrowers(item_type=copy.item_type, branch=copy.branch_id)
    if await booking_queries.next_in_line(session, book_id=copy.book_id, borrowers=borrowers):
        raise OthersWaiting
    calendar = await branches.calendar(session, loan.branch_id, context.timezone)
    loan.due_at = max(loan.due_at, calendar.due_at(context.now, days=loan.terms["loan_days"]))
    loan.renewals += 1
    await letters.take_back(session, loan=loan)
    await _note(session, "loan_renewed", loan, context)
    on_commit(session, metrics.renewals_total.inc)
    return loan


async def claim_returned(session: AsyncSession, *, loan_id: UUID, is_mine: Owner, context: Context) -> Loan:
    """Note that the reader says he brought it back; the loan stays open until the copy is found or lost. Idempotent.

    Raises:
        LoanNotFound, LoanClosed.
    """
    loan, _ = await _hold(session, loan_id, is_mine)
    if loan.claimed_returned_at is None:
        loan.claimed_returned_at = context.now
        await _note(session, "loan_claimed_returned", loan, context)
    return loan


async def mark_lost(session: AsyncSession, *, loan_id: UUID, is_mine: Owner, context: Context) -> tuple[Loan, int]:
    """Close a loan as lost and charge for it; returns the loan and what was charged, in minor units.

    Raises:
        LoanNotFound, LoanClosed.
    """
    loan, copy = await _hold(session, loan_id, is_mine)
    loan.status = LoanStatus.LOST
    copy.status = CopyStatus.LOST
    charged = await dues.charge_lost(session, loan=loan, copy=copy, context=context)
    await _note(session, "loan_lost", loan, context)
    await letters.take_back(session, loan=loan)
    return loan, charged


async def recall(session: AsyncSession, *, book_id: int, context: Context) -> Loan:
    """Ask for the copy that is due last to come back soon; no loan gets shorter than its policy's minimum.

    The caller has placed the booking for which the copy is needed, and locked the book.

    Raises:
        NothingToRecall.
    """
    loan = await queries.to_recall(session, book_id)
    if loan is None:
        raise NothingToRecall
    calendar = await branches.calendar(session, loan.branch_id, context.timezone)
    soonest = calendar.due_at(loan.checked_out_at, days=loan.terms["minimum_loan_days"])
    wanted = calendar.due_at(context.now, days=RECALL_DAYS)
    loan.due_at = min(loan.due_at, max(wanted, soonest))
    loan.recalled_at = context.now
    await _note(session, "loan_recalled", loan, context)
    await letters.take_back(session, loan=loan)
    await letters.tell_recalled(session, loan=loan, now=context.now, timezone=context.timezone)
    return loan


async def _hold(session: AsyncSession, loan_id: UUID, is_mine: Owner) -> tuple[Loan, Copy]:
    """An open loan and its copy, locked after reader and book."""
    seen = await queries.find(session, loan_id)
    if seen is None or not is_mine(seen):
        raise LoanNotFound
    if seen.status != LoanStatus.OPEN:
        raise LoanClosed(state=seen.status)
    await bookings.hold_reader(session, _reader(seen))
    await books.hold_of(session, seen)
    copy = await copies.locked(session, seen.copy_id)
    loan = await queries.locked(session, loan_id)
    if loan is None or copy is None:
        raise LoanNotFound
    if loan.status != LoanStatus.OPEN:
        raise LoanClosed(state=loan.status)
    return loan, copy


def _reader(loan: Loan) -> UUID:
    if loan.reader_id is None:
        raise LoanClosed(state=loan.status)
    return loan.reader_id


async def _note(session: AsyncSession, kind: str, loan: Loan, context: Context) -> None:
    change = Change(kind, book_id=loan.book_id, copy_id=loan.copy_id, loan_id=loan.id, branch_id=loan.branch_id)
    await audit.record(session, change, actor=context.actor, now=context.now)
    await session.flush()
