"""Direct statements: what they read and write is what the session would, in its transaction, with its errors."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import bindparam, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.context import Context
from app.core.db import Database
from app.core.direct import Direct, refresh
from app.core.errors import AppError
from app.loans.models import Loan
from app.users.models import User
from tests.circulation import Library

pytestmark = pytest.mark.anyio

LOANS = Direct(select(Loan).order_by(Loan.id))
CATEGORY = Direct(select(User.category).where(User.id == bindparam("user_id")))
COUNT = Direct(select(func.count().label("users")).select_from(User))
MOVE = Direct(update(User).where(User.id == bindparam("user_id")).values(category=bindparam("to")))
COPY_CARD = Direct(update(User).where(User.id == bindparam("user_id")).values(card_number=bindparam("card")))
END_ALL_OTHERS = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def library(database: Database) -> Library:
    return Library(database)


async def test_rows_are_those_of_the_session(library: Library) -> None:
    reader = await library.reader()
    [copy] = await library.copies_of(await library.book(copies=1))
    await library.lend(copy.barcode, reader.card_number)
    async with library.database.reading() as session:
        [loan] = await session.scalars(select(Loan))
        [row] = await LOANS.all(session)
        [again] = await LOANS.all(session)
    [asked] = await library.database.ask(LOANS)
    for found in (row, again, asked):
        for name, value in found._asdict().items():
            assert value == getattr(loan, name), name
    assert isinstance(row.reader_id, UUID)
    assert row.due_at.tzinfo is UTC
    assert isinstance(row.terms, dict)


async def test_what_the_session_has_not_written_yet_is_seen(library: Library) -> None:
    reader = await library.reader()
    async with library.database.transaction() as session:
        known = await session.get_one(User, reader.id)
        for category in ("first", "second"):
            known.category = category
            assert (await CATEGORY.one(session, user_id=reader.id)).category == category


async def test_what_is_written_directly_is_undone_with_the_transaction(library: Library) -> None:
    reader = await library.reader()

    async def move(session: AsyncSession, _context: Context) -> None:
        await MOVE.write(session, user_id=reader.id, to="first")
        await MOVE.write(session, user_id=reader.id, to="second")
        raise AppError

    with pytest.raises(AppError):
        await library.act(move)
    [row] = await library.database.ask(CATEGORY, user_id=reader.id)
    assert row.category == reader.category


async def test_an_object_learns_of_it_when_it_is_refreshed(library: Library) -> None:
    reader = await library.reader()
    async with library.database.transaction() as session:
        known = await session.get_one(User, reader.id)
        await MOVE.write(session, user_id=reader.id, to="other")
        assert known.category == reader.category
        await refresh(session, User, reader.id)
        assert known.category == "other"


async def test_a_broken_rule_is_told_as_the_session_tells_it(library: Library) -> None:
    one, other = await library.readers(2)
    with pytest.raises(
        IntegrityError
    ):  # the rules were asked before: the first goes another way than those that follow
        await library.act(lambda session, _: COPY_CARD.write(session, user_id=one.id, card=other.card_number))


async def test_a_row_is_written_with_the_defaults_of_the_database(library: Library) -> None:
    keys = Direct(
        insert(User),
        columns=("id", "version", "pseudonym", "email", "password_hash", "full_name", "role", "locale", "card_number",
                 "category", "keeps_history", "created_at"),
    )  # fmt: skip
    given = {
        "id": UUID(int=1), "version": 1, "pseudonym": UUID(int=2), "email": "direct@library.test", "role": "reader",
        "password_hash": "-", "full_name": "Direct", "locale": "en", "card_number": "direct", "category": "adult",
        "keeps_history": False, "created_at": datetime.now(UTC),
    }  # fmt: skip
    async with library.database.transaction() as session:
        await keys.write(session, **given)
    async with library.database.reading() as session:
        user = await session.get_one(User, UUID(int=1))
    assert {name: getattr(user, name) for name in given} == given
    assert user.name_key == ""


async def test_connections_that_the_server_has_closed_are_opened_anew(library: Library) -> None:
    if library.database.is_sqlite:
        return
    async with library.database.reading() as one, library.database.reading() as other:
        await COUNT.one(one)
        await COUNT.one(other)
    await library.database.ask(COUNT)
    async with library.database.reading() as session:
        await session.execute(END_ALL_OTHERS)
    await asyncio.sleep(0.2)  # the loop hears of it
    for _ in range(3):
        async with library.database.reading() as session:
            await COUNT.one(session)
        await library.database.ask(COUNT)
