"""The express counter: the shell's bytes, limits and counts for plain requests, and nothing for any other."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import uvicorn

from app.api.limiter import READS
from app.commands import worker
from app.core import metrics
from app.core.config import Settings
from app.core.db import Database
from app.core.exchange import Headers, Ready
from app.core.express import Express
from app.core.generations import REREAD_SECONDS
from app.core.middleware import Shell
from app.main import create_app
from tests.integration.api.test_response_cache import put

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"
HOST: Headers = [(b"host", b"localhost")]
CLIENT = ("198.51.100.9", 4711)


@dataclass
class Served:
    """A server of ours in this process; `answered` is what the counter said to each request it was asked about."""

    shell: Shell
    port: int
    answered: list[bool] = field(default_factory=list)

    async def say(self, *requests: str) -> bytes:
        """What comes back for these bytes, sent in one piece; the last of them ends the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write("".join(requests).encode())
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer


def get(path: str, *headers: str, version: str = "1.1") -> str:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: localhost", *headers, "", ""])


def last(path: str, *headers: str) -> str:
    """It goes the shell's way, since the connection ends with it."""
    return get(path, *headers, "Connection: close")


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        shell = create_app(settings)
        served = Served(shell, listening.getsockname()[1])
        assert shell.express
        ask = shell.express.answer

        def noted(*given: Any) -> tuple[Ready, bytes] | None:
            found = ask(*given)
            served.answered.append(found is not None)
            return found

        shell.express.answer = noted  # type: ignore[assignment,method-assign]  # the same, and noted
        hold_time(shell)
        server = uvicorn.Server(worker.config(settings, shell))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        yield served  # connections wait in the socket until it has started
        server.should_exit = True
        await running


def hold_time(shell: Shell) -> None:
    """However slow the machine is, a number that was read once is fresh."""
    shell.app.state.database.generations._clock = lambda: 1.0  # type: ignore[attr-defined]  # the FastAPI inside


@pytest.fixture
async def counter(service: Shell, client: httpx2.AsyncClient) -> Express:
    """A counter that knows the list of all books."""
    hold_time(service)
    await client.get(BOOKS)
    assert service.express
    return service.express


@pytest.fixture
async def served(settings: Settings, database: Database) -> AsyncIterator[Served]:
    for number in range(3):
        await put(database, f"The Lamp {number} ёж")
    async with serving(settings) as running:
        await running.say(last(BOOKS))  # from now on it is kept, and known
        running.answered.clear()
        yield running


def settled(answer: bytes) -> bytes:
    """Without what differs from answer to answer."""
    return re.sub(rb"(?m)^(x-request-id|ratelimit|date|connection): .*\r\n", b"", answer)


async def test_both_ways_give_the_same_bytes(served: Served) -> None:
    for headers in ((), ("Accept-Encoding: br",), ("Accept-Encoding: gzip",), ("If-None-Match: *",)):
        both = await served.say(get(BOOKS, *headers), last(BOOKS, *headers))
        first, mark, second = both.partition(b"HTTP/1.1 ")[2].partition(b"HTTP/1.1 ")
        assert mark
        assert settled(first) == settled(second)
        assert first.count(b"x-request-id: ") == first.count(b"ratelimit: ") == first.count(b"date: ") == 1
    assert served.answered == [True] * 4, "whoever ends the connection isn't asked about"


async def test_requests_sent_together_are_answered_in_their_order(served: Served) -> None:
    paths = [BOOKS, f"{BOOKS}?limit=1", BOOKS, f"{BOOKS}/1", BOOKS]
    answer = await served.say(*(get(path) for path in paths), last(f"{BOOKS}/999"))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 5 + [b"404"]
    books = [len(re.findall(rb'"title":', piece)) for piece in answer.split(b"HTTP/1.1 ")[1:6]]
    assert books == [3, 1, 3, 1, 3]
    assert served.answered[0]


async def test_older_clients_and_those_that_leave_go_the_longer_way(served: Served) -> None:
    for request in (get(BOOKS, version="1.0"), last(BOOKS)):
        answer = await served.say(request)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in answer
    assert True not in served.answered


async def test_an_idle_connection_is_closed_and_one_in_use_is_not(settings: Settings, database: Database) -> None:
    await put(database, "The Lamp")
    async with serving(settings.model_copy(update={"keepalive": 1})) as served:
        await served.say(last(BOOKS))
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for _ in range(5):
            writer.write(get(BOOKS).encode())
            assert (await reader.readuntil(b"}]")) or True
            await asyncio.sleep(0.4)
        began = loop.time()
        await reader.read()
        assert 0.3 < loop.time() - began < 3
        writer.close()


async def test_a_change_is_found_at_once(
    counter: Express, service: Shell, client: httpx2.AsyncClient, database: Database
) -> None:
    found = counter.answer(BOOKS.encode(), HOST, CLIENT, "http")
    assert found
    assert b'"title":' not in found[0].body
    await put(service.app.state.database, "The Lamp")  # type: ignore[attr-defined]  # the FastAPI inside
    assert counter.answer(BOOKS.encode(), HOST, CLIENT, "http") is None, "changed here: the shell asks first"
    assert len((await client.get(BOOKS)).json()["items"]) == 1
    again = counter.answer(BOOKS.encode(), HOST, CLIENT, "http")
    assert again
    assert b'"title":' in again[0].body


async def test_an_old_number_answers_nothing(counter: Express, service: Shell) -> None:
    state = service.app.state  # type: ignore[attr-defined]  # the FastAPI inside
    state.database.generations._clock = lambda: 1.0 + REREAD_SECONDS
    assert counter.answer(BOOKS.encode(), HOST, CLIENT, "http")
    state.database.generations._clock = lambda: 1.01 + REREAD_SECONDS
    assert counter.answer(BOOKS.encode(), HOST, CLIENT, "http") is None


@pytest.mark.parametrize(
    "header",
    ["Authorization: Bearer x", "Cookie: a=b", "Content-Length: 0", "Transfer-Encoding: chunked", "Origin: https://a.b",
     "Expect: 100-continue", f"Traceparent: 00-{'1' * 32}-{'2' * 16}-01", f"X: {'x' * 20_000}", "Host: elsewhere"],
)  # fmt: skip
async def test_what_is_not_plain_is_the_shells(counter: Express, header: str) -> None:
    name, _, value = header.encode().partition(b": ")
    for headers in ([*HOST, (name.lower(), value)], [(name.lower(), value)]):
        assert counter.answer(BOOKS.encode(), headers, CLIENT, "http") is None
    assert counter.answer(BOOKS.encode(), HOST, CLIENT, "http")


async def test_the_counter_limits_and_counts_as_the_shell_does(counter: Express, client: httpx2.AsyncClient) -> None:

    def counted() -> tuple[float, float]:
        requests = metrics.http_requests_total.labels("GET", BOOKS, "200")
        return requests._value.get(), metrics.cache_hits_total._value.get()

    before = counted()
    forwarded: Headers = [*HOST, (b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    answers = [counter.answer(BOOKS.encode(), forwarded, ("127.0.0.1", 1), "http") for _ in range(READS.amount)]
    assert counted() == (before[0] + READS.amount, before[1] + READS.amount)
    first = answers[0]
    assert first
    assert b"strict-transport-security: " in first[1]
    assert f'ratelimit: "reads";r={READS.amount - 1};t=1\r\n'.encode() in first[1]
    seen = set()
    for _ in range(10):  # thirty more are allowed each second: on a slow machine one of them comes in between
        while counter.answer(BOOKS.encode(), forwarded, ("127.0.0.1", 1), "http"):
            pass
        seen.add((await client.get(BOOKS, headers={"X-Forwarded-For": "203.0.113.7"})).status_code)
    assert 429 in seen
    assert counter.answer(BOOKS.encode(), HOST, CLIENT, "http"), "somebody else"


async def test_a_good_request_id_is_kept_and_a_bad_one_replaced(counter: Express) -> None:
    for given, is_kept in ((b"abcd-1234", True), (b"evil\r\nset-cookie: a", False)):
        found = counter.answer(BOOKS.encode(), [*HOST, (b"x-request-id", given)], CLIENT, "http")
        assert found
        assert (b"x-request-id: %b\r\n" % given in found[1]) is is_kept
        assert b"set-cookie" not in found[1]
