"""Lending a copy at the desk: whose card, which copy, by which rules, until when."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.bookings.models import Booking, BookingStatus
from app.bookings.service import letters as booking_letters
from app.bookings.service.standing import Standing
from app.branches import service as branches
from app.copies import queries as copies
from app.copies.models import Copy
from app.copies.service import CopyNotFound
from app.copies.statuses import CopyStatus
from app.core import metrics
from app.core.db import on_commit
from app.core.direct import refresh
from app.core.errors import Conflict, Unprocessable
from app.loans import holding, queries
from app.loans.models import Loan, LoanStatus
from app.loans.service.scans import Snapshot, keep_scan, snapshot
from app.policies.rules import Terms
from app.users import queries as users

OVERRIDABLE: Final = frozenset({"expired", "blocked", "limit", "not_for_loan", "promised_to_another"})


class UnknownRule(Unprocessable):
    code, detail = "unknown_rule", "No override lifts {rules}; those that can be lifted are {known}."


class CopyOnLoan(Conflict):
    code, detail = "copy_on_loan", "This copy is on loan to another reader; return it first."


class AlreadyOnLoan(Conflict):
    code, detail = "already_on_loan", "The reader has this very copy on loan already; renew it, or scan the next one."


class PromisedToAnother(Conflict):
    code, detail = "promised_to_another", "This copy is promised to another reader; put it on the hold shelf."


class CopyNotLendable(Conflict):
    code, detail = "copy_not_lendable", "This copy is {state}; check it in first."


class LoanLimitReached(Conflict):
    code, detail = (
        "loan_limit_reached",
        "The reader has {limit} loans, which is the limit; something must come back first.",
    )


@dataclass(frozen=True, slots=True)
class Override:
    """Rules that a librarian lifts for this loan, and why."""

    rules: frozenset[str]
    reason: str


@dataclass(frozen=True, slots=True)
class Lent:
    """A loan and its copy as they stand now; objects of nobody's session."""

    loan: Loan
    copy: Copy
    title: str
    scan_id: UUID


async def lend(
    session: AsyncSession,
    *,
    barcode: str,
    card_number: str,
    branch_id: str,
    override: Override | None,
    context: Context,
) -> Lent:
    """Lend a copy. Locks reader, book, copy. An override lifts the rules that it names and is audited.

    A reader's open booking for the book is fulfilled, whatever copy he takes; the copy promised to him goes on to the
    next in line.

    Raises:
        ReaderNotFound, CopyNotFound, CardExpired, ReaderBlocked, NotForLoan, LoanLimitReached, CopyOnLoan,
        AlreadyOnLoan, PromisedToAnother, CopyNotLendable, UnknownRule.
    """
    lifted = _lifted(override)
    held = await holding.card_and_book(session, card_number=card_number, barcode=barcode)
    if held is None:
        raise bookings.ReaderNotFound if await users.holder(session, card_number) is None else CopyNotFound
    row = await holding.copy(session, held.copy_id)
    if row is None or row.deleted_at:
        raise CopyNotFound
    copy = Copy(**row._asdict())
    displaced = await _check_copy(session, copy, held.reader_id, lifted)
    terms = context.rules.terms(category=held.category, item_type=copy.item_type, branch=copy.branch_id)
    found = await holding.before_lending(
        session, reader_id=held.reader_id, book_id=copy.book_id, copy_id=copy.id, limit=terms.loan_limit
    )
    _check_reader(held, found.loans, terms, lifted, context)
    before = await snapshot(session, copy, is_promised=found.promised_booking_id is not None)
    reason = override.reason if override else None
    if displaced:
        await bookings.back_to_queue(session, booking=displaced, context=context, reason=reason or "lent to another")
    loan = await _write(session, copy, held.reader_id, terms, branch_id, context, reason, lifted)
    if found.own_booking_id:
        await _fulfil(session, held.reader_id, copy, before, context)
    if displaced:
        await bookings.settle(session, book_id=copy.book_id, context=context)
    scan_id = await keep_scan(session, kind="lend", copy=copy, before=before, loan=loan, context=context)
    await refresh(session, Copy, copy.id)
    on_commit(session, metrics.loans_created_total.inc)
    return Lent(loan, copy, held.title, scan_id)


def _lifted(override: Override | None) -> frozenset[str]:
    rules = override.rules if override else frozenset()
    if unknown := rules - OVERRIDABLE:
        raise UnknownRule(rules=", ".join(sorted(unknown)), known=", ".join(sorted(OVERRIDABLE)))
    return rules


async def _check_copy(session: AsyncSession, copy: Copy, reader_id: UUID, lifted: Collection[str]) -> Booking | None:
    """The other reader's booking that this loan displaces, if an override allows that."""
    if copy.status == CopyStatus.AVAILABLE:
        return None
    if copy.status == CopyStatus.ON_LOAN:
        loan = await queries.open_of_copy(session, copy.id)
        raise AlreadyOnLoan if loan and loan.reader_id == reader_id else CopyOnLoan
    if copy.status not in {CopyStatus.RESERVED, CopyStatus.ON_HOLD_SHELF}:
        raise CopyNotLendable(state=copy.status.replace("_", " "))
    booking = await booking_queries.promised(session, copy.id)
    if booking is None or booking.reader_id == reader_id:
        return None
    if "promised_to_another" not in lifted:
        raise PromisedToAnother
    return booking


def _check_reader(reader: Standing, has: int, terms: Terms, lifted: Collection[str], context: Context) -> None:
    bookings.check_standing(reader, context=context, lifted=lifted)
    if terms.loan_days == 0 and "not_for_loan" not in lifted:
        raise bookings.NotForLoan
    if "limit" not in lifted and has >= terms.loan_limit:
        raise LoanLimitReached(limit=terms.loan_limit)


async def _write(
    session: AsyncSession,
    copy: Copy,
    reader_id: UUID,
    terms: Terms,
    branch_id: str,
    context: Context,
    reason: str | None,
    lifted: Collection[str],
) -> Loan:
    calendar = await branches.calendar(session, branch_id, context.timezone)
    loan = Loan(
        id=uuid_utils.uuid7(),
        copy_id=copy.id,
        book_id=copy.book_id,
        reader_id=reader_id,
        branch_id=branch_id,
        status=LoanStatus.OPEN,
        checked_out_at=context.now,
        due_at=calendar.due_at(context.now, days=terms.loan_days),
        renewals=0,
        terms=asdict(terms),
    )
    await holding.open_loan(session, loan)
    copy.status = CopyStatus.ON_LOAN
    copy.at_branch_id = branch_id
    copy.transit_to_id = None
    await holding.place_copy(session, copy)
    change = Change("loan_opened", book_id=copy.book_id, copy_id=copy.id, loan_id=loan.id, branch_id=branch_id)
    data = {"overridden": sorted(lifted)} if lifted else None
    await audit.record(session, change, actor=context.actor, now=context.now, reason=reason, data=data)
    return loan


async def _fulfil(session: AsyncSession, reader_id: UUID, copy: Copy, before: Snapshot, context: Context) -> None:
    """Close the reader's booking for the book; a different copy that was promised to him goes on."""
    booking = await booking_queries.open_of(session, reader_id=reader_id, book_id=copy.book_id)
    if booking is None:
        return
    before.keep_booking(booking)
    promised_id = booking.copy_id
    booking.status = BookingStatus.FULFILLED
    booking.copy_id = None
    booking.pickup_until = None
    booking.suspended_until = None
    booking.closed_at = context.now
    await bookings.note(session, "booking_fulfilled", booking, context, copy_id=copy.id)
    await booking_letters.take_back(session, booking=booking)
    if promised_id is not None and promised_id != copy.id:
        other = await copies.locked(session, promised_id)
        if other is not None:
            await bookings.pass_on(session, copy=other, in_hand=False, context=context)
