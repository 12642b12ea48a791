"""The edge of the service: limits, lanes, deadlines, headers, other origins. The database plays no part in it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from app.api.limiter import READS, WRITES, RequestLimiter
from app.core.config import Environment, Settings
from app.core.exchange import Application, Exchange, Receive, Scope, Send
from app.core.lanes import Fork, Lane
from app.core.limits import Limits
from app.core.middleware import Endpoints, Shell

pytestmark = pytest.mark.anyio

ORIGIN = "https://catalogue.example.org"


class Inside:
    """The application behind the shell: answers at once, when told to, or never."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = 0
        self.all_wait = asyncio.Event()
        self.bodies: list[bytes] = []
        self.was_cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("wait"):
            self.waiting += 1
            if self.waiting == 8:
                self.all_wait.set()
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise
        if scope["method"] == "POST":
            self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Everybody:
    """Takes all who ask for readers who have signed in (strangers: test_members.py)."""

    async def include(self, _exchange: Exchange) -> bool:
        return True


@pytest.fixture
async def inside(anyio_backend: str) -> Inside:
    del anyio_backend
    return Inside()


def _shell(inside: Application, tmp_path: Path, **settings: Any) -> Shell:
    made = Settings(
        _env_file=None, data_dir=tmp_path, environment=Environment.DEVELOPMENT, **{"max_concurrency": 8} | settings
    )
    limiter = RequestLimiter(made, Limits(made, clock=lambda: 1_000.0))
    return Shell(
        inside, settings=made, endpoints=Endpoints([]), probes=frozenset({"/health"}), limiter=limiter,
        members=Everybody(),
    )  # fmt: skip


def _client(shell: Shell, peer: str = "127.0.0.1") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=shell, client=(peer, 1))
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.fixture
async def shell(inside: Inside, tmp_path: Path) -> Shell:
    return _shell(inside, tmp_path)


@pytest.fixture
async def client(shell: Shell) -> AsyncIterator[httpx2.AsyncClient]:
    async with _client(shell) as opened:
        yield opened


async def test_an_address_is_told_its_limit_and_turned_away_beyond_it(client: httpx2.AsyncClient) -> None:
    first = await client.get("/api/v1/books")
    assert first.headers["RateLimit-Policy"] == f'"reads";q={READS.amount};w={READS.seconds}'
    assert first.headers["RateLimit"] == f'"reads";r={READS.amount - 1};t=1'
    answers = [await client.get("/api/v1/books") for _ in range(READS.amount + 5)]
    refused = answers[-1]
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["RateLimit"].startswith('"reads";r=0;')
    assert (await client.get("/health")).status_code == 200, "probes are never turned away"
    elsewhere = await client.get("/api/v1/books", headers={"X-Forwarded-For": "198.51.100.7"})
    assert elsewhere.status_code == 200, "somebody else behind the same proxy is not"


async def test_a_stranger_cannot_choose_the_address_that_he_is_counted_by(shell: Shell) -> None:
    async with _client(shell, "203.0.113.5") as stranger:
        answers = [
            await stranger.get("/api/v1/books", headers={"X-Forwarded-For": f"198.51.100.{number % 250}"})
            for number in range(READS.amount + 5)
        ]
    assert answers[-1].status_code == 429


async def test_writing_is_counted_by_token_and_invented_tokens_by_address(client: httpx2.AsyncClient) -> None:
    headers = {"Authorization": "Bearer mine"}
    answers = [await client.post("/api/v1/books", headers=headers) for _ in range(WRITES.amount + 1)]
    assert [answer.status_code for answer in answers[-2:]] == [200, 429]
    assert (await client.post("/api/v1/books", headers={"Authorization": "Bearer other"})).status_code == 200
    statuses = {
        (await client.get("/api/v1/books", headers={"Authorization": f"Bearer {number}"})).status_code
        for number in range(1_100)
    }
    assert statuses == {200, 429}


async def test_a_full_lane_says_so_at_once_and_leaves_the_other_lanes_free(
    client: httpx2.AsyncClient, inside: Inside
) -> None:
    waiting = [asyncio.create_task(client.get("/api/v1/books/wait")) for _ in range(8)]
    await inside.all_wait.wait()
    loop = asyncio.get_running_loop()
    started = loop.time()
    with capture_logs() as lines:
        refused = await client.get("/api/v1/books")
        assert loop.time() - started < 0.05
        again = await client.get("/api/v1/books", headers={"X-Request-ID": "the-second-one"})
        without_body = await client.head("/api/v1/books")
    for answer in (refused, again):
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
        assert int(answer.headers["Retry-After"]) >= 1
    assert again.headers["X-Request-ID"] == "the-second-one"
    assert (without_body.status_code, without_body.content) == (503, b"")
    # A line for each would cost more than turning away does.
    assert not [line for line in lines if line["log_level"] != "info"]
    for path in ("/api/v1/auth/login", "/api/v1/loans", "/api/v1/desk/hold-shelf", "/api/v1/uploads"):
        assert (await client.post(path)).status_code == 200, path
    assert (await client.get("/health")).status_code == 200
    inside.gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert (await client.get("/api/v1/books")).status_code == 200


async def test_what_takes_too_long_is_given_up(
    client: httpx2.AsyncClient, inside: Inside, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell.lanes.general.member, "deadline_seconds", 0.05)
    late = await client.get("/api/v1/books/wait")
    assert (late.status_code, late.json()["code"]) == (503, "deadline_exceeded")
    assert inside.was_cancelled
    assert shell.lanes.general.member.busy == 0


@pytest.mark.parametrize(("deadline", "idle"), [(0.05, 15.0), (None, 0.05)])
async def test_a_body_that_does_not_come_is_not_waited_for(
    client: httpx2.AsyncClient, shell: Shell, monkeypatch: pytest.MonkeyPatch, deadline: float | None, idle: float
) -> None:
    lane = Lane("test", 8, deadline_seconds=deadline, idle_seconds=idle)
    monkeypatch.setattr(shell.lanes, "general", Fork(lane, lane))

    async def trickle() -> AsyncIterator[bytes]:
        await asyncio.sleep(5)
        yield b"late"

    slow = await client.post("/api/v1/books", content=trickle())
    assert (slow.status_code, slow.json()["code"]) == (408, "slow_body")
    assert slow.headers["Connection"] == "close"


@pytest.mark.parametrize("length", ["abc", "-1", "1_0", "0x10", "", "²"])
async def test_a_length_that_is_no_number_is_refused(shell: Shell, length: str) -> None:
    sent: list[Any] = []
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/api/v1/books", "raw_path": b"/api/v1/books", "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", length.encode())], "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await shell(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_strict_transport_is_asked_for_over_tls_only(client: httpx2.AsyncClient, shell: Shell) -> None:
    assert "Strict-Transport-Security" not in (await client.get("/api/v1/books")).headers
    over_tls = await client.get("/api/v1/books", headers={"X-Forwarded-Proto": "https"})
    assert over_tls.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    async with _client(shell, "203.0.113.5") as stranger:
        lied = await stranger.get("/api/v1/books", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in lied.headers


@pytest.mark.parametrize("path", ["/health", "/api/v1/books", "/api/v1/books?q=%00", "/nothing"])
async def test_each_security_header_is_set_once_on_every_answer(client: httpx2.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    for name in (
        "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy",
        "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Permissions-Policy", "Cache-Control",
    ):  # fmt: skip
        assert len(headers.get_list(name)) == 1, name
    assert "X-XSS-Protection" not in headers
    assert "Server" not in headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= {
        part.strip() for part in policy.split(";")
    }


async def test_another_origin_is_let_in_by_its_exact_spelling(inside: Inside, tmp_path: Path) -> None:
    async with _client(_shell(inside, tmp_path, backend_cors_origins=(ORIGIN,))) as client:
        preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH"}
        allowed = await client.options("/api/v1/books/1", headers=preflight)
        assert allowed.status_code == 204
        assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "If-Match" in allowed.headers["Access-Control-Allow-Headers"]
        answer = await client.get("/api/v1/books", headers={"Origin": ORIGIN})
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        for stranger in (
            ORIGIN + ".evil.test", "https://evil.test", "http://catalogue.example.org", ORIGIN + ":8443", "null",
            ORIGIN.upper(), ORIGIN + "/", "",
        ):  # fmt: skip
            refused = await client.options("/api/v1/books/1", headers=preflight | {"Origin": stranger})
            assert "Access-Control-Allow-Origin" not in refused.headers, stranger
            assert "Origin" in refused.headers["Vary"]


async def test_without_the_setting_no_origin_is_let_in(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/books", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
