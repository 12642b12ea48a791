"""Lanes: how many requests of a kind are worked on at once, how long one may take, how large its body may be.

What does not fit into its lane is told so at once (503, Retry-After). Signing in and the desk have lanes of their own,
and so have readers who have signed in: strangers, crawlers among them, fill theirs alone (decision 15).
"""

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn, Self

from app.core import metrics
from app.core.config import Settings
from app.core.errors import Unavailable
from app.core.exchange import MAX_BODY_BYTES

DEADLINE_SECONDS: Final = 8.0
IDLE_SECONDS: Final = 15.0
# Who waits longer has gone, or asks again; what stands in line is bounded, and served in its order.
WAIT_SECONDS: Final = 3.0
IN_LINE: Final = 4  # for each that is worked on
# Of each process. Two at once made readers wait twice as long (p95 366 ms, 210 with one) and found hardly more.
SEARCHES_AT_ONCE: Final = 1
# A class that searches in the same moment: the last of them waits for a second or two.
SEARCHES_IN_LINE: Final = 64
STRANGERS_SHARE: Final = 16  # one in so many of MAX_CONCURRENCY
# Whoever asks again without a pause is held up: refusing a crowd as fast as it asks left the loop no time for readers,
# who waited 8 s (measured). Whoever comes by himself is refused at once.
REFUSALS_A_SECOND: Final = 100
MAX_HELD_UP: Final = 1_000
HELD_UP_SECONDS: Final = 1.0
MAX_IMPORTS_AT_ONCE: Final = 8
# An upload is held in memory whole: so many at once, of MAX_UPLOAD_SIZE each.
MAX_UPLOADS_AT_ONCE: Final = 16
# What a multipart form may hold besides the file.
FORM_BYTES: Final = 64_000
# What a browser reports of a page's policy: small, and of no hurry.
REPORT_BYTES: Final = 8_000
MAX_REPORTS_AT_ONCE: Final = 4
KNOWN_PATHS: Final = 4_096
# What asks for a list of all books in one order; whatever else a query names makes it a search.
CHEAP: Final = (b"sort=", b"cursor=", b"limit=")


class Overloaded(Unavailable):
    code, detail = "overloaded", "The library is very busy just now; try again in a moment."
    is_for_crowds = True


@dataclass(slots=True)
class Lane:
    """`deadline_seconds` is for the whole answer, `idle_seconds` for the next piece of a body.

    `in_line` may wait for a place, three seconds at most; `refusals` is how many are turned away in a second, none held
    up if None. Only a lane that takes files lets a multipart body in; what would read it elsewhere keeps files of it
    open.
    """

    name: str
    width: int
    in_line: int = 0
    refusals: int | None = None
    deadline_seconds: float | None = DEADLINE_SECONDS
    idle_seconds: float = IDLE_SECONDS
    body_bytes: int = MAX_BODY_BYTES
    takes_files: bool = False
    busy: int = field(default=0, init=False)
    waiting: int = field(default=0, init=False)
    _places: asyncio.Semaphore = field(init=False)
    _held_up: int = field(default=0, init=False)
    _next_refusal_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.width)
        metrics.turned_away(self.name)

    async def __aenter__(self) -> Self:
        """Take a place in it.

        Raises:
            Overloaded: it is full, and so is the line before it; or none got free in time.
        """
        if not self._places.locked():
            await self._places.acquire()
        elif self.waiting < self.in_line:
            await self._wait()
        else:
            await self._turn_away()
        self.busy += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.busy -= 1
        self._places.release()

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            metrics.turned_away(self.name).inc()
            raise Overloaded from None
        finally:
            self.waiting -= 1

    async def _turn_away(self) -> NoReturn:
        metrics.turned_away(self.name).inc()
        if self.refusals and self._held_up < MAX_HELD_UP:
            now = asyncio.get_running_loop().time()
            at = max(now, min(self._next_refusal_at, now + HELD_UP_SECONDS))
            self._next_refusal_at = at + 1 / self.refusals
            if at > now:
                self._held_up += 1
                try:
                    await asyncio.sleep(at - now)
                finally:
                    self._held_up -= 1
        raise Overloaded


class Fork(NamedTuple):
    """Where the way depends on who goes it."""

    member: Lane
    stranger: Lane


class Lanes:
    """Which way a request goes."""

    def __init__(self, settings: Settings) -> None:
        root, most = settings.api_v1_str, settings.max_concurrency
        few = max(2, most // STRANGERS_SHARE)
        members, strangers = Lane("members", most), Lane("strangers", few, IN_LINE * few, REFUSALS_A_SECOND)
        searches = Lane("searches", SEARCHES_AT_ONCE, SEARCHES_IN_LINE, REFUSALS_A_SECOND)
        transfer = Lane("transfers", most, deadline_seconds=None)
        sign_in, desk = Lane("sign_in", most), Lane("desk", most)
        upload_bytes = settings.max_upload_size + FORM_BYTES
        files = Lane("files", MAX_UPLOADS_AT_ONCE, deadline_seconds=None, body_bytes=upload_bytes, takes_files=True)
        import_bytes = settings.max_import_size + FORM_BYTES
        catalogue = Lane(
            "imports", MAX_IMPORTS_AT_ONCE, deadline_seconds=None, body_bytes=import_bytes, takes_files=True
        )
        reports = Lane("reports", MAX_REPORTS_AT_ONCE, body_bytes=REPORT_BYTES)
        stream = Lane("streams", most * 10, deadline_seconds=None)
        self.general, self._search = Fork(members, strangers), Fork(members, searches)
        self._searched = frozenset({"/", "/suggest", *(f"{root}/books{each}" for each in ("", "/suggest", "/facets"))})
        self._by_path: dict[str, Lane | Fork] = {
            f"{root}/books/availability/stream": stream,
            f"{root}/books/export": transfer,
            f"{root}/books/import": catalogue,
            "/imports": catalogue,
        }
        self._by_resource = {
            f"{root}/auth": sign_in,
            f"{root}/loans": desk,
            f"{root}/returns": desk,
            f"{root}/desk": desk,
            f"{root}/uploads": files,
        }
        # Pages stand at the root, where the first part of the path is the resource.
        self._by_page = {"login": sign_in, "desk": desk, "covers": files, "csp-reports": reports}
        self._resource_parts = root.count("/") + 2
        self._of_path = lru_cache(maxsize=KNOWN_PATHS)(self._of_path_uncached)

    def of(self, path: str, query: bytes) -> Lane | Fork:
        """The lane, or a fork where strangers go another way than those who have signed in."""
        if query and path in self._searched and not all(part.startswith(CHEAP) for part in query.split(b"&")):
            return self._search
        return self._of_path(path)

    def _of_path_uncached(self, path: str) -> Lane | Fork:
        resource = self._by_resource.get(self._resource(path)) or self._by_page.get(path.lstrip("/").partition("/")[0])
        return self._by_path.get(path) or resource or self.general

    def _resource(self, path: str) -> str:
        return "/".join(path.split("/", self._resource_parts)[: self._resource_parts])
