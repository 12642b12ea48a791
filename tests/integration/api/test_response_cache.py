"""Kept answers: the same as without the cache, never old, never anybody's own, worked out once."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import brotli
import httpx2
import pytest
from sqlalchemy import event, text

from app.books import service as books
from app.books.schemas import BookCreate
from app.core import cache, metrics
from app.core.config import Settings
from app.core.db import Database
from app.core.exchange import Exchange, Message, Scope, Send
from app.core.middleware import Shell
from app.main import create_app
from tests.conftest import Person, _client, close

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"
NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[Database]:
    """The connections of another process: what it commits this one is not told."""
    other = Database(settings)
    yield other
    await other.close()


async def put(database: Database, title: str) -> int:
    async with database.transaction() as session:
        return (await books.add(session, data=BookCreate(title=title), now=NOW)).id


async def titles(client: httpx2.AsyncClient, path: str = BOOKS) -> list[str]:
    return [item["title"] for item in (await client.get(path)).json()["items"]]


def hits() -> float:
    number: float = metrics.cache_hits_total._value.get()
    return number


@contextmanager
def statements(service: Shell) -> Iterator[list[str]]:
    """What the service asks its database meanwhile."""
    seen: list[str] = []
    engine = service.app.state.database._reader.sync_engine  # type: ignore[attr-defined]  # the FastAPI inside

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_a_kept_answer_is_the_one_that_would_be_worked_out(
    client: httpx2.AsyncClient, settings: Settings, database: Database
) -> None:
    ids = [await put(database, f"Lamp {number} ёж") for number in range(30)]
    plain = create_app(settings.model_copy(update={"cache_enabled": False}))
    async with _client(plain) as uncached:
        for path in (BOOKS, f"{BOOKS}?q=lamp&limit=3", f"{BOOKS}/{ids[0]}", f"{BOOKS}?sort=title&limit=100"):
            worked_out = await uncached.get(path)
            first = await client.get(path)
            before = hits()
            again = await client.get(path)
            assert hits() == before + 1
            for answer in (first, again):
                assert answer.content == worked_out.content
                assert answer.headers.get("link") == worked_out.headers.get("link")
                assert answer.headers["cache-control"] == "no-cache"
                assert answer.headers["x-content-type-options"] == "nosniff"
            assert first.headers["x-request-id"] != again.headers["x-request-id"]
    await close(plain)


async def test_each_coding_has_a_tag_of_its_own_and_each_tag_saves_the_body(
    client: httpx2.AsyncClient, database: Database
) -> None:
    book_id = await put(database, "Lamp " * 200)
    path = f"{BOOKS}/{book_id}"
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    tags = []
    for accepted, coding, decode in (
        ("gzip, br", "br", brotli.decompress),
        ("gzip", "gzip", gzip.decompress),
        ("br;q=0, *;q=0.1", "gzip", gzip.decompress),
        ("deflate, br;q=0, gzip;q=0", None, bytes),
    ):
        async with client.stream("GET", path, headers={"Accept-Encoding": accepted}) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert answer.headers.get("content-encoding") == coding
        assert decode(raw) == plain.content
        assert answer.headers["content-length"] == str(len(raw))
        assert answer.headers["vary"] == "Accept-Encoding, Authorization, Cookie"
        assert answer.headers["etag"] == (f'"1-{coding}"' if coding else '"1"')
        tags.append(answer.headers["etag"])
    for asked in (*tags, 'W/"1-br"', '"x", "1-gzip"', "*"):
        answer = await client.get(path, headers={"If-None-Match": asked})
        assert (answer.status_code, answer.content) == (304, b""), asked
    for asked in ('"2"', '"1-zip"', "1"):
        assert (await client.get(path, headers={"If-None-Match": asked})).status_code == 200, asked


async def test_what_this_process_saves_is_in_its_next_answer(client: httpx2.AsyncClient, librarian: Person) -> None:
    assert await titles(client) == []
    made = await librarian.client.post(BOOKS, json={"title": "The Lamp"})
    path = f"{BOOKS}/{made.json()['id']}"
    assert await titles(client) == ["The Lamp"]
    await librarian.client.patch(path, json={"title": "The Lantern"}, headers={"If-Match": "*"})
    assert (await client.get(path)).json()["title"] == "The Lantern"
    assert await titles(client) == ["The Lantern"]
    await librarian.client.patch(path, json={"suppressed": True}, headers={"If-Match": "*"})
    assert await titles(client) == []
    assert (await client.get(path)).status_code == 404


async def test_what_another_process_saves_is_found_within_a_second(
    client: httpx2.AsyncClient, elsewhere: Database
) -> None:
    """Nobody tells this process: as if the other were killed between its commit and its word."""
    assert await titles(client) == []
    await put(elsewhere, "From elsewhere")
    found: list[str] = []
    for _ in range(20):
        await asyncio.sleep(0.05)
        found = await titles(client)
    assert found == ["From elsewhere"]


async def test_every_way_to_write_a_book_raises_the_generation(
    client: httpx2.AsyncClient, librarian: Person, database: Database
) -> None:
    numbers = [await database.generation("catalogue")]

    async def raised(answer: httpx2.Response) -> httpx2.Response:
        assert answer.is_success, answer.text
        numbers.append(await database.generation("catalogue"))
        assert numbers[-1] > numbers[-2]
        return answer

    def anyway(**headers: str) -> dict[str, str]:
        return {"If-Match": "*", **headers}

    desk = librarian.client
    first, second = [(await raised(await desk.post(BOOKS, json={"title": "A"}))).json()["id"] for _ in range(2)]
    await raised(await desk.put(f"{BOOKS}/{first}", json={"title": "B"}, headers=anyway()))
    await raised(await desk.delete(f"{BOOKS}/{first}", headers=anyway()))
    await raised(await desk.post(f"{BOOKS}/{first}/restore"))
    await raised(await desk.post(f"{BOOKS}/{first}/merge", json={"into": second}))
    assert (await client.get(BOOKS)).json()["items"][0]["id"] == second


async def test_nothing_of_anybody_is_kept_or_given_to_anybody(
    client: httpx2.AsyncClient, service: Shell, librarian: Person, database: Database
) -> None:
    book_id = await put(database, "The Lamp")
    kept = service.app.state.cache._kept  # type: ignore[attr-defined]  # the FastAPI inside
    document = (await client.get("/openapi.json")).json()
    paths = [path.replace("{book_id}", str(book_id)) for path, item in document["paths"].items() if "get" in item]
    for path in paths:
        if "stream" not in path:
            await librarian.client.get(path)
            await client.get(path, headers={"Cookie": "a=b"})
    assert list(kept) == []
    live = (f"{BOOKS}/{book_id}/availability", f"{BOOKS}?include=availability", f"{BOOKS}?available=true",
            f"{BOOKS}?branch=main", f"{BOOKS}/facets", f"{BOOKS}/export", f"{BOOKS}/{book_id}/copies")  # fmt: skip
    for path in live:
        await client.get(path)
    assert list(kept) == []
    await client.get(f"{BOOKS}/{book_id}")
    assert list(kept) == [f"{BOOKS}/{book_id}?".encode()]
    before = hits()
    await librarian.client.get(f"{BOOKS}/{book_id}")
    assert hits() == before


async def test_a_thousand_who_ask_the_same_at_once_cost_one_search(settings: Settings, database: Database) -> None:
    await put(database, "The Lamp")
    service = create_app(settings.model_copy(update={"rate_limit_enabled": False, "max_concurrency": 2_000}))
    searches = metrics.searches_total._value.get()
    async with _client(service) as client:
        with statements(service) as alone:
            await client.get(f"{BOOKS}?q=lamp&limit=9")
        with statements(service) as together:
            answers = await asyncio.gather(*(client.get(f"{BOOKS}?q=lamp&limit=10") for _ in range(1_000)))
    await close(service)
    assert metrics.searches_total._value.get() == searches + 1_001  # also those that nobody had to make
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(together) <= len(alone) + 1  # the generation may be read once more


async def test_whoever_waited_for_a_request_that_was_given_up_asks_for_himself(
    client: httpx2.AsyncClient, database: Database
) -> None:
    await put(database, "The Lamp")
    leader = asyncio.create_task(client.get(BOOKS))
    for _ in range(5):
        await asyncio.sleep(0)
    followers = [asyncio.create_task(client.get(BOOKS)) for _ in range(5)]
    await asyncio.sleep(0)
    leader.cancel()
    answers = await asyncio.gather(*followers)
    assert [len(answer.json()["items"]) for answer in answers] == [1] * 5


async def test_nobody_waits_for_the_end_of_an_answer_that_is_not_kept(settings: Settings, database: Database) -> None:
    """It may go on for ever, as a stream of events does."""
    kept = cache.ResponseCache(settings, database, kinds={re.compile("/x"): "catalogue"})
    never, both_began = asyncio.Event(), asyncio.Event()
    began: list[Message] = []

    async def send(message: Message) -> None:
        began.append(message)
        if len(began) == 2:
            both_began.set()

    async def load(_scope: Scope, send: Send) -> None:
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-store")]})
        await never.wait()

    def answer() -> asyncio.Task[bool]:
        async def answer_and_pass_by() -> bool:
            scope = {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": []}
            exchange = Exchange(scope, never.wait, send)  # type: ignore[arg-type]  # nothing is received
            if not await kept.answer(exchange, load):
                await load(scope, send)
            return True

        return asyncio.create_task(answer_and_pass_by())

    tasks = [answer(), answer()]
    async with asyncio.timeout(5):
        await both_began.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await kept.close()


async def test_refusals_are_not_kept(client: httpx2.AsyncClient, service: Shell) -> None:
    for path in (f"{BOOKS}/77", f"{BOOKS}?limit=0", f"{BOOKS}?q=%21", f"{BOOKS}?cursor=x"):
        first, second = await client.get(path), await client.get(path)
        assert first.status_code == second.status_code >= 400
        assert first.json()["request_id"] != second.json()["request_id"]
    assert not service.app.state.cache._kept  # type: ignore[attr-defined]  # the FastAPI inside


async def test_memory_stays_within_its_bound(
    client: httpx2.AsyncClient, service: Shell, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 20_000)
    await put(database, "Lamp " * 200)
    for limit in range(1, 30):
        await client.get(f"{BOOKS}?limit={limit}")
    kept = service.app.state.cache  # type: ignore[attr-defined]  # the FastAPI inside
    assert 0 < kept._bytes <= 20_000
    assert kept._bytes == sum(entry.size for entry in kept._kept.values())
    assert f"{BOOKS}?limit=29".encode() in kept._kept


async def test_without_its_database_the_cache_vouches_for_nothing(
    client: httpx2.AsyncClient, database: Database, service: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(database, "The Lamp")
    assert await titles(client) == ["The Lamp"]
    async with database.transaction() as session:
        await session.execute(text("ALTER TABLE generations RENAME TO elsewhere"))
    monkeypatch.setattr(service.app.state.database.generations, "_clock", lambda: 1e12)  # type: ignore[attr-defined]  # the FastAPI inside
    before = hits()
    assert await titles(client) == ["The Lamp"]
    assert hits() == before
