"""The ledger: charging readers, and settling what was charged.

Each function appends and never changes. The caller has locked the reader's row (users.queries.locked), so that the
money operations of one reader follow each other. Should one forget it: each reads first where the account ends, judges
what it read after that, and takes the next number, so that of two at once one fails on the number. The caller also
records what happened.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.charges import queries
from app.charges.models import Entry, Kind, Reason
from app.charges.queries import End, Standing
from app.charges.schemas import EntryRead
from app.core import metrics
from app.core.db import on_commit
from app.core.errors import Conflict, Unprocessable
from app.core.schemas import Money


class UnknownCharge(Unprocessable):
    code, detail = "unknown_charge", "The reader's account has no such charge."


class ExceedsBalance(Conflict):
    code, detail = "exceeds_balance", "That is more than the reader owes."


class ExceedsCharge(Conflict):
    code, detail = "exceeds_charge", "That is more than is left of this charge."


class ExceedsCredit(Conflict):
    code, detail = "exceeds_credit", "That is more than the library owes the reader."


async def charge(
    session: AsyncSession,
    *,
    subject: UUID,
    reason: str,
    amount_minor: int,
    loan_id: UUID | None,
    now: datetime,
    actor: UUID | None,
    note: str | None = None,
    branch: str | None = None,
) -> Entry:
    """Charge a reader. `reason` is a Reason; `branch` is whose money it is, and whose staff may waive it.

    The entry outlives the reading history: `note` must name no book.
    """
    entry = Entry(
        kind=Kind.CHARGE,
        reason=Reason(reason),
        amount_minor=amount_minor,
        loan_id=loan_id,
        branch_id=branch,
        note=note,
    )
    end = await queries.end_of(session, subject)
    await _append(session, end, [entry], subject=subject, now=now, actor=actor)
    return entry


async def pay(
    session: AsyncSession,
    *,
    subject: UUID,
    amount_minor: int,
    settles: UUID | None = None,
    now: datetime,
    actor: UUID | None,
    note: str | None = None,
) -> list[Entry]:
    """Take a payment for the charge `settles`, or for the open charges, the oldest first: one entry for each.

    Raises:
        UnknownCharge, ExceedsBalance, ExceedsCharge.
    """
    end = await queries.end_of(session, subject)
    if amount_minor > end.balance_minor:
        raise ExceedsBalance
    shares = await _shares_of_debt(session, subject, amount_minor, settles)
    return await _settle(session, end, Kind.PAYMENT, shares, subject=subject, now=now, actor=actor, note=note)


async def waive(
    session: AsyncSession,
    *,
    subject: UUID,
    amount_minor: int,
    settles: UUID | None = None,
    now: datetime,
    actor: UUID | None,
    note: str | None = None,
) -> list[Entry]:
    """Forgive what is open of the charge `settles`, or of the open charges, the oldest first: one entry for each.

    Raises:
        UnknownCharge, ExceedsBalance, ExceedsCharge.
    """
    end = await queries.end_of(session, subject)
    if settles is None and amount_minor > end.balance_minor:
        raise ExceedsBalance
    shares = await _shares_of_debt(session, subject, amount_minor, settles)
    return await _settle(session, end, Kind.WAIVER, shares, subject=subject, now=now, actor=actor, note=note)


async def refund(
    session: AsyncSession,
    *,
    subject: UUID,
    amount_minor: int,
    settles: UUID | None = None,
    now: datetime,
    actor: UUID | None,
    note: str | None = None,
) -> list[Entry]:
    """Pay out a credit: of the charge `settles` that was paid and then reversed, or of all such, the oldest first.

    Raises:
        UnknownCharge, ExceedsCredit.
    """
    end = await queries.end_of(session, subject)
    if amount_minor > -end.balance_minor:
        raise ExceedsCredit
    found = await _one_of(session, subject, settles) if settles else await queries.credits_of(session, subject)
    shares = _spread(amount_minor, [(each.charge, -each.open_minor) for each in found], ExceedsCredit)
    return await _settle(session, end, Kind.REFUND, shares, subject=subject, now=now, actor=actor, note=note)


async def reverse(
    session: AsyncSession,
    *,
    entry_id: UUID,
    amount_minor: int | None = None,
    now: datetime,
    actor: UUID | None,
    note: str | None = None,
) -> Entry | None:
    """Take a charge back, or so much of it; what was paid of it becomes a credit, what was waived does not.

    Without an amount: all that was neither waived nor reversed. None if that is nothing, so a second call does nothing.

    Raises:
        UnknownCharge, ExceedsCharge.
    """
    charged = await queries.charge(session, entry_id)
    if charged is None:
        raise UnknownCharge
    end = await queries.end_of(session, charged.subject)
    (found,) = await _one_of(session, charged.subject, entry_id)
    amount = found.revocable_minor if amount_minor is None else amount_minor
    if amount > found.revocable_minor:
        raise ExceedsCharge
    if amount == 0:
        return None
    shares, subject = [(charged, amount)], charged.subject
    (entry,) = await _settle(session, end, Kind.REVERSAL, shares, subject=subject, now=now, actor=actor, note=note)
    return entry


async def balance(session: AsyncSession, *, subject: UUID) -> int:
    """What a reader owes: charges − reversals − payments − waivers + refunds; below 0 the library owes him.

    Cost: one row, however long the ledger is.
    """
    return (await queries.end_of(session, subject)).balance_minor


async def of_loan(session: AsyncSession, *, loan_id: UUID) -> list[Entry]:
    """The charges that a loan made, the oldest first."""
    return await queries.of_loan(session, loan_id)


async def forget_loan(session: AsyncSession, *, loan_id: UUID) -> None:
    """Cut the link between a loan and what was charged for it; the money stays. Idempotent."""
    await session.execute(update(Entry).where(Entry.loan_id == loan_id).values(loan_id=None))


async def forget_subject(session: AsyncSession, *, subject: UUID) -> None:
    """Empty what an erased reader's entries tell besides money: their loans and notes. Idempotent."""
    told = or_(Entry.loan_id.is_not(None), Entry.note.is_not(None))
    await session.execute(update(Entry).where(Entry.subject == subject, told).values(loan_id=None, note=None))


async def statement(
    session: AsyncSession, *, subject: UUID, cursor: str | None, limit: int
) -> tuple[list[tuple[Entry, int | None]], str | None]:
    """A page of a reader's entries, the newest first, each charge with what is open of it (below 0: a credit).

    Raises:
        InvalidCursor, StaleCursor.
    """
    found, following = await queries.page(session, subject=subject, cursor=cursor, limit=limit)
    standings = await queries.standings(session, [entry.id for entry in found if entry.kind == Kind.CHARGE])
    rows = [(entry, standings[entry.id].open_minor if entry.id in standings else None) for entry in found]
    return rows, following


def read(entry: Entry, *, open_minor: int | None, currency: str) -> EntryRead:
    """An entry as it is answered; amounts in the library's currency."""
    return EntryRead(
        id=entry.id,
        kind=Kind(entry.kind),
        reason=Reason(entry.reason),
        amount=Money(amount_minor=entry.amount_minor, currency=currency),
        balance=Money(amount_minor=entry.balance_minor, currency=currency),
        open=None if open_minor is None else Money(amount_minor=open_minor, currency=currency),
        charge_id=entry.settles_id,
        loan_id=entry.loan_id,
        branch=entry.branch_id,
        created_at=entry.created_at,
        note=entry.note,
    )


async def _shares_of_debt(
    session: AsyncSession, subject: UUID, amount_minor: int, settles: UUID | None
) -> list[tuple[Entry, int]]:
    found = await _one_of(session, subject, settles) if settles else await queries.open_charges(session, subject)
    return _spread(amount_minor, [(each.charge, each.open_minor) for each in found], ExceedsCharge)


async def _one_of(session: AsyncSession, subject: UUID, charge_id: UUID) -> list[Standing]:
    found = await queries.standing(session, charge_id)
    if found is None or found.charge.subject != subject:
        raise UnknownCharge
    return [found]


def _spread(amount_minor: int, rooms: Sequence[tuple[Entry, int]], refusal: type[Conflict]) -> list[tuple[Entry, int]]:
    """Share an amount out in the order given, no share above its room."""
    shares, rest = [], amount_minor
    for entry, room in rooms:
        if share := min(rest, max(room, 0)):
            shares.append((entry, share))
            rest -= share
    if rest:
        raise refusal
    return shares


async def _settle(
    session: AsyncSession,
    end: End,
    kind: Kind,
    shares: Sequence[tuple[Entry, int]],
    *,
    subject: UUID,
    now: datetime,
    actor: UUID | None,
    note: str | None,
) -> list[Entry]:
    entries = [
        Entry(
            kind=kind,
            reason=charged.reason,
            amount_minor=amount_minor,
            settles_id=charged.id,
            branch_id=charged.branch_id,
            note=note,
        )
        for charged, amount_minor in shares
    ]
    await _append(session, end, entries, subject=subject, now=now, actor=actor)
    return entries


async def _append(
    session: AsyncSession, end: End, entries: Sequence[Entry], *, subject: UUID, now: datetime, actor: UUID | None
) -> None:
    owed = end.balance_minor
    for number, entry in enumerate(entries, end.number + 1):
        owed += entry.amount_minor if entry.kind in {Kind.CHARGE, Kind.REFUND} else -entry.amount_minor
        entry.id, entry.subject, entry.number, entry.balance_minor = uuid_utils.uuid7(), subject, number, owed
        entry.created_at, entry.actor = now, actor
        session.add(entry)
        on_commit(session, partial(metrics.ledger_minor_total.labels(entry.kind).inc, entry.amount_minor))
    await session.flush()
