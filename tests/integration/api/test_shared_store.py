"""Answers kept in Redis for all processes: true, nobody's own, and never waited for."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx2
import pytest
from pydantic import SecretStr

from app.core import metrics, shared_store
from app.core.config import Settings
from app.core.db import Database
from app.core.middleware import Shell
from app.main import create_app
from redis import Redis
from tests import servers
from tests.conftest import Person, _client, close
from tests.integration.api.test_response_cache import BOOKS, put, titles

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[servers.Redis]:
    with servers.redis("a-password") as running:
        yield running


@pytest.fixture
def settings(settings: Settings, server: servers.Redis) -> Settings:
    """Limits stay within the process: only the cache speaks to Redis."""
    return settings.model_copy(
        update={"redis_url": SecretStr(server.url), "rate_limit_enabled": False, "cache_key_prefix": "branch-a:"}
    )


@pytest.fixture
async def another(settings: Settings) -> AsyncIterator[Callable[[], httpx2.AsyncClient]]:
    """Gives clients of further processes of the same service, which have kept nothing yet."""
    made: list[tuple[Shell, httpx2.AsyncClient]] = []

    def make() -> httpx2.AsyncClient:
        service = create_app(settings)
        made.append((service, _client(service)))
        return made[-1][1]

    yield make
    for service, client in made:
        await client.aclose()
        await close(service)


def misses() -> float:
    number: float = metrics.cache_misses_total._value.get()
    return number


def keys(server: servers.Redis) -> list[bytes]:
    with Redis.from_url(server.url) as redis:
        found: list[bytes] = redis.keys("*")
        return found


async def kept(server: servers.Redis, number: int) -> None:
    async with asyncio.timeout(5):
        while len(keys(server)) != number:  # noqa: ASYNC110  # Redis tells nobody
            await asyncio.sleep(0.01)


async def test_what_one_process_worked_out_another_finds(
    client: httpx2.AsyncClient, another: Callable[[], httpx2.AsyncClient], database: Database, server: servers.Redis
) -> None:
    book_id = await put(database, "Lamp ёж: " + "x" * 900)
    paths = (BOOKS, f"{BOOKS}/{book_id}", f"{BOOKS}?q=lamp")
    first = [await client.get(path) for path in paths]
    await kept(server, len(paths))
    assert all(key.startswith(b"branch-a:") for key in keys(server))
    other, before = another(), misses()
    for path, known in zip(paths, first, strict=True):
        answer = await other.get(path)
        assert (answer.content, answer.headers["etag"]) == (known.content, known.headers["etag"])
        assert answer.headers["content-security-policy"] == known.headers["content-security-policy"]
        assert answer.headers["x-request-id"] != known.headers["x-request-id"]
        assert (await other.get(path, headers={"If-None-Match": known.headers["etag"]})).status_code == 304
    assert misses() == before


async def test_what_is_changed_is_found_by_whoever_has_kept_nothing_himself(
    client: httpx2.AsyncClient, another: Callable[[], httpx2.AsyncClient], database: Database, server: servers.Redis
) -> None:
    await put(database, "The Lamp")
    assert await titles(client) == ["The Lamp"]
    await kept(server, 1)
    await put(database, "The Lantern")
    assert await titles(another()) == ["The Lantern", "The Lamp"]


async def test_nothing_of_anybody_reaches_redis(
    client: httpx2.AsyncClient, librarian: Person, database: Database, server: servers.Redis
) -> None:
    book_id = await put(database, "The Lamp")
    document = (await client.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        if "get" in item and "stream" not in path:
            await librarian.client.get(path.replace("{book_id}", str(book_id)))
            await client.get(path.replace("{book_id}", str(book_id)), headers={"Cookie": "a=b"})
    await client.get(f"{BOOKS}?include=availability")
    await client.get(f"{BOOKS}/{book_id}")
    await kept(server, 1)
    assert keys(server)[0].endswith(f"{BOOKS}/{book_id}?".encode())


async def test_what_somebody_else_wrote_there_is_not_served(
    another: Callable[[], httpx2.AsyncClient], database: Database, server: servers.Redis
) -> None:
    await put(database, "The Lamp")
    first = another()
    assert await titles(first) == ["The Lamp"]
    await kept(server, 1)
    (key,) = keys(server)
    whole = Redis.from_url(server.url).get(key)
    assert isinstance(whole, bytes)
    for broken in (b"", b"x", b"\n\n", whole[:-1], whole + b"x", whole.replace(b"no-cache", b"public"), b"\x80\x04N."):
        with Redis.from_url(server.url) as redis:
            redis.set(key, broken)
        assert await titles(another()) == ["The Lamp"], broken
    with Redis.from_url(server.url) as redis:
        redis.delete(key)
        redis.rpush(key, "a list")
    assert await titles(another()) == ["The Lamp"]


async def test_without_redis_answers_are_as_true_and_hardly_later(
    another: Callable[[], httpx2.AsyncClient],
    database: Database,
    server: servers.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_store, "PAUSE_SECONDS", 0.2)
    await put(database, "The Lamp")

    def go_on() -> None:
        server.hang(hanging=False)

    def hang() -> None:
        server.hang(hanging=True)

    def fill() -> None:
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxmemory", "1")

    def empty() -> None:
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxmemory", "0")
            redis.flushall()

    client = another()
    for lose, bring_back in ((hang, go_on), (server.stop, server.start), (fill, empty)):
        lose()
        began = time.monotonic()
        for number in range(20):
            assert await titles(client, f"{BOOKS}?limit={number + 1}") == ["The Lamp"]
        late = time.monotonic() - began
        assert late < 20 * shared_store.TIMEOUT_SECONDS, "every answer waited for Redis"
        bring_back()
        await put(database, "gone again")  # what the client has kept so far is old now
        async with database.transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("UPDATE books SET suppressed = (title <> 'The Lamp')")
        await asyncio.sleep(0.5)
        async with asyncio.timeout(5):
            number = 20
            while not keys(server):  # it is used again without a restart
                number += 1
                await client.get(f"{BOOKS}?limit={number}")
                await asyncio.sleep(0.05)
