"""Reading the ledger: where a reader's account stands, what is open of each charge, pages of entries."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.charges.models import Entry, Kind
from app.core.pagination import Cursor, decode_cursor, question_of


@dataclass(frozen=True, slots=True)
class Standing:
    """A charge as it stands. `open_minor` is what nobody settled yet; below 0 it is a credit: it was paid and then
    reversed. `revocable_minor` is what was neither waived nor reversed, and so may still be reversed.
    """

    charge: Entry
    open_minor: int
    revocable_minor: int


@dataclass(frozen=True, slots=True)
class End:
    """Where a reader's account ends: the number of the last entry and the balance after it."""

    number: int
    balance_minor: int


async def end_of(session: AsyncSession, subject: UUID) -> End:
    """Where a reader's account ends. Reads one row, however long it is."""
    statement = select(Entry.number, Entry.balance_minor).where(Entry.subject == subject)
    found = (await session.execute(statement.order_by(Entry.number.desc()).limit(1))).one_or_none()
    return End(found.number, found.balance_minor) if found else End(0, 0)


async def charge(session: AsyncSession, charge_id: UUID) -> Entry | None:
    entry = await session.get(Entry, charge_id)
    return entry if entry is not None and entry.kind == Kind.CHARGE else None


async def open_charges(session: AsyncSession, subject: UUID) -> list[Standing]:
    """A reader's charges of which something is open, the oldest first."""
    return await _standings(session, _standing().where(Entry.subject == subject).having(_rest_after(_settled) > 0))


async def credits_of(session: AsyncSession, subject: UUID) -> list[Standing]:
    """A reader's charges that were paid and then reversed, the oldest first."""
    return await _standings(session, _standing().where(Entry.subject == subject).having(_rest_after(_settled) < 0))


async def standing(session: AsyncSession, charge_id: UUID) -> Standing | None:
    """One charge as it stands; None if there is no charge with this id."""
    return (await standings(session, [charge_id])).get(charge_id)


async def standings(session: AsyncSession, charge_ids: Collection[UUID]) -> dict[UUID, Standing]:
    found = await _standings(session, _standing().where(Entry.id.in_(charge_ids)))
    return {each.charge.id: each for each in found}


async def of_loan(session: AsyncSession, loan_id: UUID) -> list[Entry]:
    """The charges that a loan made, the oldest first."""
    statement = select(Entry).where(Entry.loan_id == loan_id, Entry.kind == Kind.CHARGE)
    return list(await session.scalars(statement.order_by(Entry.number)))


async def page(
    session: AsyncSession, *, subject: UUID, cursor: str | None, limit: int
) -> tuple[list[Entry], str | None]:
    """A reader's entries, the newest first.

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("charges", subject)
    after = decode_cursor(cursor, question)
    statement = select(Entry).where(Entry.subject == subject).order_by(Entry.number.desc()).limit(limit + 1)
    if after:
        statement = statement.where(Entry.number < after.id)
    found = list(await session.scalars(statement))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, found[limit - 1].number).encode(question)


_settling = aliased(Entry)
_settled = case((_settling.kind == Kind.REFUND, -_settling.amount_minor), else_=_settling.amount_minor)
_revoked = case((_settling.kind.in_((Kind.WAIVER, Kind.REVERSAL)), _settling.amount_minor), else_=0)


def _rest_after(settled: ColumnElement[int]) -> ColumnElement[int]:
    # Sums of big integers are numeric in PostgreSQL.
    return cast(Entry.amount_minor - func.coalesce(func.sum(settled), 0), BigInteger)


def _standing() -> Select[Entry, int, int]:
    return (
        select(Entry, _rest_after(_settled), _rest_after(_revoked))
        .outerjoin(_settling, _settling.settles_id == Entry.id)
        .where(Entry.kind == Kind.CHARGE)
        .group_by(Entry.id)
        .order_by(Entry.number)
    )


async def _standings(session: AsyncSession, statement: Select[Entry, int, int]) -> list[Standing]:
    return [Standing(*row) for row in await session.execute(statement)]
