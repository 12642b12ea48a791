"""The ledger's rows: the database itself refuses to change or remove one, or to take one that makes no sense."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.charges import service as charges
from app.charges.models import Entry, Reason
from app.core.db import Database

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)

CHANGES: dict[str, Any] = {
    "id": uuid4(), "subject": uuid4(), "number": 9, "kind": "payment", "reason": "other", "amount_minor": 1,
    "balance_minor": 0, "settles_id": uuid4(), "loan_id": uuid4(), "branch_id": None, "created_at": datetime.now(UTC),
    "actor": None, "note": "nothing happened",
}  # fmt: skip


async def test_no_column_of_an_entry_can_be_changed(database: Database) -> None:
    assert CHANGES.keys() == {column.name for column in Entry.__table__.columns}
    async with database.transaction() as session:
        entry = await _charge(session, uuid4(), loan_id=uuid4(), branch="main", note="torn page")
    for column, value in CHANGES.items():
        with pytest.raises(DBAPIError, match="the ledger only grows"):
            async with database.transaction() as session:
                await session.execute(update(Entry).where(Entry.id == entry.id).values({column: value}))
    with pytest.raises(DBAPIError, match="the ledger only grows"):
        async with database.transaction() as session:
            await session.execute(update(Entry).values(loan_id=None, amount_minor=1))


async def test_no_entry_can_be_removed(database: Database) -> None:
    async with database.transaction() as session:
        await _charge(session, uuid4())
    wipes = ["DELETE FROM ledger_entries", *([] if database.is_sqlite else ["TRUNCATE ledger_entries"])]
    for wipe in wipes:
        with pytest.raises(DBAPIError, match="the ledger only grows"):
            async with database.transaction() as session:
                await session.execute(text(wipe))
    async with database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(Entry)) == 1


async def test_the_link_to_a_loan_may_fade(database: Database) -> None:
    subject, loan = uuid4(), uuid4()
    async with database.transaction() as session:
        entry = await _charge(session, subject, loan_id=loan, branch="main")
    async with database.transaction() as session:
        await session.execute(update(Entry).where(Entry.loan_id == loan).values(loan_id=None))
    async with database.reading() as session:
        kept = await session.get_one(Entry, entry.id)
        assert (kept.loan_id, kept.branch_id, kept.amount_minor, kept.note) == (None, "main", 500, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_minor": 0},
        {"amount_minor": -5},
        {"kind": "gift"},
        {"reason": "spite"},
        {"number": 0},
        {"kind": "payment"},
        {"settles_id": uuid4(), "kind": "payment"},
        {"branch_id": "nowhere"},
    ],
    ids=lambda wrong: "-".join(f"{name}={value}" for name, value in wrong.items() if name != "settles_id"),
)
async def test_the_database_refuses_an_entry_that_makes_no_sense(database: Database, wrong: dict[str, Any]) -> None:
    row = {
        "id": uuid4(), "subject": uuid4(), "number": 1, "kind": "charge", "reason": "fee", "amount_minor": 5,
        "balance_minor": 5, "created_at": NOW,
    }  # fmt: skip
    async with database.transaction() as session:
        await session.execute(insert(Entry).values({**row, "id": uuid4()}))
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            await session.execute(insert(Entry).values({**row, "subject": uuid4(), **wrong}))


async def _charge(session: AsyncSession, subject: UUID, **given: Any) -> Entry:
    wanted: dict[str, Any] = {"reason": Reason.FEE, "loan_id": None, **given}
    return await charges.charge(session, subject=subject, amount_minor=500, now=NOW, actor=None, **wanted)
