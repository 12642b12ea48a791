"""The load: a town that reads, books, lends and returns through the proxy, and a record of what it was told.

Writers have the soak's ledger: each intent has a number and is sent until it is decided. Readers ask for pages,
lists and their own account. Whoever gets no answer, or a server's fault, is written down with the time.
"""

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from app.core.db import Database
from benchmarks.soaking import world
from benchmarks.soaking.ledger import Ledger
from benchmarks.soaking.load import visit
from benchmarks.soaking.world import World
from tests.chaos import inside
from tests.chaos.site import PROXY_PORT, Site

WRITERS: Final = 4
READERS: Final = 3
ADDRESSES: Final = 24
BOOKS: Final = 60
PEOPLE: Final = 120
PAUSE_SECONDS: Final = 0.15
TIMEOUT_SECONDS: Final = 15.0
CALM_SECONDS: Final = 1.0
NO_ANSWER: Final = 0
SERVER_FAULT: Final = 500
BUSY: Final = 503
LOCK_SECONDS: Final = 0.9


@dataclass(frozen=True, slots=True)
class Sent:
    """A request: when it began and ended, what it was and how it ended; status 0 is no answer at all."""

    began: float
    ended: float
    method: str
    path: str
    status: int
    said: str

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def has_waited(self) -> bool:
        """Refused after it had waited as long as one may for a row that somebody else had locked."""
        has_waited = self.ended - self.began >= LOCK_SECONDS
        return self.is_write and has_waited and self.status == BUSY and "database_unavailable" in self.said

    @property
    def has_failed(self) -> bool:
        return self.status == NO_ANSWER or self.status >= SERVER_FAULT

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.said} after {self.ended - self.began:.1f} s"


class Recorder(httpx2.AsyncClient):
    """A client that writes down what it asked, into `sent`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[Sent] = []

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        began = time.monotonic()
        try:
            try:
                answer = await super().send(request, **options)
            except httpx2.RemoteProtocolError:
                if request.method != "GET":
                    raise
                # A kept connection that the other side let go in that moment: asked again, as browsers do (RFC 9112).
                answer = await super().send(request, **options)
        except httpx2.TransportError as error:
            self._note(began, request, NO_ANSWER, type(error).__name__)
            raise
        said = answer.text[:200] if answer.status_code >= SERVER_FAULT else str(answer.status_code)
        self._note(began, request, answer.status_code, said)
        return answer

    def _note(self, began: float, request: httpx2.Request, status: int, said: str) -> None:
        self.sent.append(Sent(began, time.monotonic(), request.method, request.url.path, status, said))


class Town(Recorder):
    """People of many addresses, who ask the proxy by its name and over TLS."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        ways = [
            httpx2.AsyncHTTPTransport(verify=trust, local_address=f"127.0.1.{number}")
            for number in range(1, ADDRESSES + 1)
        ]
        super().__init__(
            base_url=f"https://{inside.HOST}:{PROXY_PORT}", timeout=TIMEOUT_SECONDS, transport=_InTurn(ways)
        )


class _InTurn(httpx2.AsyncBaseTransport):
    def __init__(self, ways: list[httpx2.AsyncHTTPTransport]) -> None:
        self._ways = ways
        self._next = itertools.cycle(ways)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await next(self._next).handle_async_request(request)

    async def aclose(self) -> None:
        for way in self._ways:
            await way.aclose()


@dataclass
class Load:
    """Goes on while `goes`; `busy` counts whoever still waits for an answer."""

    town: Town
    people: World
    ledger: Ledger
    goes: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0

    async def write(self) -> None:
        while True:
            await self._when_it_goes(lambda: visit(self.people, self.ledger, self.town))

    async def read(self, number: int) -> None:
        token = list(self.people.readers.values())[number]
        paths = itertools.cycle(
            [
                ("/api/v1/books", ""),
                (f"/api/v1/books/{self.people.books[number]}/availability", ""),
                ("/", ""),
                ("/api/v1/auth/me", token),
                (f"/api/v1/books?q=dune&limit={number + 1}", ""),
            ]
        )
        while True:
            path, who = next(paths)
            headers = {"Authorization": f"Bearer {who}"} if who else {}
            await self._when_it_goes(lambda: self._ask(path, headers))  # noqa: B023  # called before the next turn

    async def _ask(self, path: str, headers: dict[str, str]) -> None:
        try:
            await self.town.get(path, headers=headers)
        except httpx2.TransportError:
            return  # it is written down

    async def _when_it_goes(self, act: Callable[[], Any]) -> None:
        await self.goes.wait()
        self.busy += 1
        try:
            await act()
        finally:
            self.busy -= 1
        await asyncio.sleep(PAUSE_SECONDS)

    async def rest(self) -> None:
        """Let everybody get his answer, and begin nothing new."""
        self.goes.clear()
        while self.busy:  # noqa: ASYNC110  # a count, which tells nobody
            await asyncio.sleep(0.02)

    async def recovered(self, since: float, *, patience_seconds: float) -> float | None:
        """Seconds until the last failure after `since`, once all has gone well for a while; None: never."""
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            after = [sent for sent in self.town.sent if sent.ended >= since]
            last = max((sent.ended for sent in after if sent.has_failed and not sent.has_waited), default=since)
            well = {sent.is_write for sent in after if not sent.has_failed and sent.began >= last}
            if time.monotonic() - last >= CALM_SECONDS and len(well) == 2:
                return last - since
        return None


@asynccontextmanager
async def loaded(site: Site, database: Database, *, seed: int) -> AsyncIterator[Load]:
    """A town with a library, which waits for the word to go."""
    people = await world.found(database, site.settings, seed=seed, books=BOOKS, readers=PEOPLE)
    trust = ssl.create_default_context(cafile=str(site.folder / "secrets" / "tls" / "ecdsa.crt"))
    trust.load_verify_locations(str(site.folder / "secrets" / "tls" / "rsa.crt"))
    async with Town(trust) as town:
        load = Load(town, people, Ledger(town, seed=seed))
        tasks = [asyncio.create_task(load.write()) for _ in range(WRITERS)]
        tasks += [asyncio.create_task(load.read(number)) for number in range(READERS)]
        try:
            yield load
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended
