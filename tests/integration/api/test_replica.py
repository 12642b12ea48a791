"""The replica: strangers read from it, nobody ever sees that it is late, and nothing fails when it does."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr

from app.core import replica as replicas
from app.core.config import Settings
from app.core.db import Database
from tests import servers
from tests.conftest import Person, _administer, _migrate, _settings
from tests.integration.api.test_response_cache import BOOKS, put, titles

pytestmark = pytest.mark.anyio

QUESTIONS = (BOOKS, f"{BOOKS}?q=lamp", f"{BOOKS}/suggest?q=lamp")


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[servers.Postgres, servers.Postgres]]:
    """A database server and its replica, which writes into its log what it is asked."""
    with servers.postgres() as primary, tempfile.TemporaryDirectory() as folder:
        copy = servers.Postgres(Path(folder))
        copy.follow(primary)
        copy.start(durable=False, extra="-c log_statement=all")
        try:
            yield primary, copy
        finally:
            copy.stop()


@pytest.fixture
def copy(pair: tuple[servers.Postgres, servers.Postgres]) -> servers.Postgres:
    return pair[1]


@pytest.fixture
def settings(
    pair: tuple[servers.Postgres, servers.Postgres], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A service with a new database that the replica has too; it keeps no answers, so that each is read."""
    monkeypatch.setattr(replicas, "PAUSE_SECONDS", 0)  # it is always looked after, and still nobody waits for it
    primary, copy = pair
    name = f"test_{uuid4().hex}"
    asyncio.run(_administer(primary.url, f"CREATE DATABASE {name}"))
    given = _settings(tmp_path, database_url=f"{primary.url}/{name}")
    asyncio.run(_migrate(given))
    # Without a question after TLS: a server that hangs before it answers leaves the driver with a future of its own.
    replica = SecretStr(f"{copy.url}/{name}?sslmode=disable")
    return given.model_copy(
        update={"database_replica_url": replica, "cache_enabled": False, "rate_limit_enabled": False}
    )


def asked(copy: servers.Postgres) -> str:
    """What the replica was asked so far."""
    return (copy.folder / "log").read_text(errors="replace")


async def replay(copy: servers.Postgres, settings: Settings, *, paused: bool) -> None:
    assert settings.database_replica_url
    function = "pg_wal_replay_pause" if paused else "pg_wal_replay_resume"
    await _administer(settings.database_replica_url.get_secret_value().rpartition("/")[0], f"SELECT {function}()")


async def used(client: httpx2.AsyncClient, copy: servers.Postgres) -> None:
    """Wait until strangers' questions reach the replica."""
    for path in QUESTIONS:
        for _ in range(100):
            before = len(asked(copy))
            assert (await client.get(path)).status_code == 200
            if "FROM books" in asked(copy)[before:]:
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail(f"{path} never reached the replica")


async def test_strangers_read_books_from_the_replica_and_nobody_else_anything(
    client: httpx2.AsyncClient, librarian: Person, database: Database, copy: servers.Postgres
) -> None:
    book_id = await put(database, "The Lamp")
    await used(client, copy)
    before = len(asked(copy))
    live = (f"{BOOKS}/{book_id}/availability", f"{BOOKS}?include=availability", f"{BOOKS}?available=true",
            f"{BOOKS}/facets", f"{BOOKS}/{book_id}/copies")  # fmt: skip
    for path in live:
        assert (await client.get(path)).status_code == 200
    for path in (*QUESTIONS, f"{BOOKS}/{book_id}", "/api/v1/auth/me"):
        assert (await librarian.client.get(path)).status_code == 200
    assert asked(copy)[before:] == ""


async def test_nobody_sees_that_the_replica_is_late(
    client: httpx2.AsyncClient, database: Database, settings: Settings, copy: servers.Postgres
) -> None:
    await put(database, "The Lamp")
    await used(client, copy)
    await replay(copy, settings, paused=True)
    try:
        await put(database, "The second lamp")  # by another process: this one isn't told
        began = time.monotonic()
        while await titles(client) != ["The second lamp", "The Lamp"]:
            assert time.monotonic() - began < 1.5
        assert len(await titles(client, f"{BOOKS}?q=lamp")) == 2
    finally:
        await replay(copy, settings, paused=False)
    await used(client, copy)
    assert await titles(client) == ["The second lamp", "The Lamp"]


async def test_nothing_fails_when_the_replica_hangs_or_dies_and_it_is_used_again_afterwards(
    client: httpx2.AsyncClient, database: Database, copy: servers.Postgres
) -> None:
    await put(database, "The Lamp")

    def hang() -> None:
        copy.hang(hanging=True)

    def go_on() -> None:
        copy.hang(hanging=False)

    def start() -> None:
        copy.start(durable=False, extra="-c log_statement=all")

    for lose, bring_back in ((hang, go_on), (copy.stop, start)):
        await used(client, copy)
        lose()
        try:
            for _ in range(3):
                answers = await asyncio.gather(*(client.get(path) for path in [*QUESTIONS] * 10))
                assert {answer.status_code for answer in answers} == {200}
        finally:
            bring_back()
        await used(client, copy)
