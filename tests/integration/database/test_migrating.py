"""Migrating a database in use: nobody waits behind a migration that waits, and code runs on a schema ahead of it."""

import asyncio
import time

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core import migrations, revision
from app.core.config import Settings
from app.core.db import Base, Database
from app.core.engines import NoDirectConnection
from tests import evidence
from tests.conftest import PASSWORD, Person
from tests.integration.api.desk import API, Desk, book

POSTGRES = pytest.mark.parametrize("backend", ["postgresql"])
READ = text("SELECT count(*) FROM api_keys")
pytestmark = pytest.mark.anyio


async def read_again_and_again(database: Database, until: asyncio.Event) -> float:
    """The longest that a reader of the table had to wait."""
    longest = 0.0
    while not until.is_set():
        began = time.monotonic()
        async with database.reading() as session:
            await session.execute(READ)
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.01)
    return longest


@POSTGRES
async def test_a_migration_that_waits_lets_others_pass_and_tries_again(database: Database) -> None:
    await migrations.downgrade(database, "0070")
    over = asyncio.Event()
    async with database.reading() as holder:
        await holder.execute(READ)  # a long transaction, which the migration's ALTER TABLE has to wait for
        reader = asyncio.create_task(read_again_and_again(database, over))
        migration = asyncio.create_task(migrations.upgrade(database))
        await asyncio.sleep(3)
        assert not migration.done()
        assert await revision.is_pending(database)
        over.set()
        longest = await reader  # it goes on reading, although the ALTER TABLE waits before it
    await migration
    assert await revision.current(database) == revision.newest()
    evidence.keep("R4", "waiting", longest_stall_seconds=round(longest, 2), limit_seconds=0.5)


@POSTGRES
async def test_a_migration_gives_up_with_nothing_changed(database: Database) -> None:
    await migrations.downgrade(database, "0070")
    async with database.reading() as holder:
        await holder.execute(READ)
        with pytest.raises(DBAPIError, match="lock timeout"):
            await migrations.upgrade(database, patience_seconds=0)
    assert await revision.current(database) == "0070"
    await migrations.upgrade(database)
    assert await revision.current(database) == revision.newest()


@POSTGRES
async def test_its_limits_are_its_own(database: Database) -> None:
    async with database.primary.migrating() as connection:
        assert await connection.scalar(text("SHOW lock_timeout")) == "200ms"
        assert await connection.scalar(text("SHOW statement_timeout")) == "0"
    async with database.reading() as session:
        assert await session.scalar(text("SHOW lock_timeout")) == "1s"
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7301550612 % 4294967296"
        assert await session.scalar(text(held)) == 0


@POSTGRES
async def test_pgbouncer_cant_stand_between(settings: Settings) -> None:
    assert settings.database_url is not None
    url = type(settings.database_url)(settings.database_url.get_secret_value() + "?pgbouncer=true")
    database = Database(settings.model_copy(update={"database_url": url}))
    with pytest.raises(NoDirectConnection):
        await migrations.upgrade(database)
    await database.close()


async def test_the_code_works_on_the_schema_of_a_later_release(
    later: None, reader: Person, librarian: Person, admin: Person, client: httpx2.AsyncClient
) -> None:
    desk = Desk(librarian)
    book_id = await desk.book("3001")
    booked = await book(reader, book_id)
    assert (booked.status_code, booked.json()["status"]) == (201, "allocated"), booked.text
    assert (await desk.give_back("3001"))["action"] == "hold_shelf"
    loan = (await desk.lend("3001", reader)).json()
    assert (await reader.client.post(f"{API}/loans/{loan['id']}/renew")).status_code == 200
    assert (await desk.give_back("3001"))["loan"]["status"] == "returned"
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    for who, path in (
        (client, f"/books/{book_id}"), (client, "/books?q=dune"), (client, f"/books/{book_id}/availability"),
        (reader.client, "/auth/me"), (reader.client, "/auth/me/loans"), (reader.client, "/auth/me/bookings"),
        (reader.client, "/auth/me/export"), (librarian.client, "/desk/hold-shelf"),
        (librarian.client, "/desk/pull-list"), (admin.client, "/users"), (admin.client, "/policies"),
        (admin.client, "/branches"), (admin.client, "/audit"), (admin.client, "/events"),
    ):  # fmt: skip
        answer = await who.get(API + path)
        assert answer.status_code == 200, (path, answer.text)
    assert (await reader.client.request("DELETE", f"{API}/auth/me", json={"password": PASSWORD})).status_code < 300


@pytest.fixture
async def later(database: Database) -> None:
    """What migrations of a later release may have done by ADR 6: columns, tables, indexes."""
    async with database.exclusive() as connection:
        for table in Base.metadata.sorted_tables:
            for column in ("later_note TEXT", "later_number INTEGER NOT NULL DEFAULT 0"):
                await connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {column}"))
            await connection.execute(text(f"CREATE INDEX later_{table.name} ON {table.name} (later_number)"))
        await connection.execute(text("CREATE TABLE later (id INTEGER PRIMARY KEY, loan_id CHAR(36))"))
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
