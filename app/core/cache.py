"""The response cache: anonymous answers about catalogue data as ready bytes, true as long as their generation is.

What was read from the database after a generation's number is at least as new as that number says, so an answer kept
under it can be too new (and is dropped early), never too old.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from app.core import metrics
from app.core.coding import best_coding, encoded
from app.core.config import Settings
from app.core.db import Database
from app.core.exchange import Exchange, Headers, Message, Ready, Scope, Send
from app.core.shared_store import SharedStore

SHARED: Final = b"no-cache"
"""The Cache-Control by which an endpoint says that its answer is the same for everybody."""
VARY: Final = (b"vary", b"Accept-Encoding, Authorization, Cookie")
MAX_BYTES: Final = 32 * 1024 * 1024
MAX_ANSWER_BYTES: Final = 1024 * 1024
MIN_CODED_BYTES: Final = 512

Load = Callable[[Scope, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Variant:
    """The answer in one coding, and the one for whoever has it already."""

    tag: bytes
    whole: Ready
    not_modified: Ready


class Kept:
    """One answer and the variants of it that somebody has asked for."""

    def __init__(self, generation: int, expires_at: float, headers: Headers, body: bytes) -> None:
        self.generation = generation
        self.expires_at = expires_at
        self._headers = [item for item in headers if item[0] not in {b"content-length", b"etag", b"vary"}]
        self._tag = dict(headers)[b"etag"]
        self._by_tag: dict[bytes, Variant] = {}
        self._variants = {b"": self._variant(b"", body)}
        # What all variants, the headers and the address can come to; counted once, so that the sum can't drift.
        self.size = 3 * len(body) + 10_000

    def variant(self, accepted: bytes) -> Variant:
        """The one for what the client accepts; worked out once."""
        identity = self._variants[b""]
        coding = best_coding(accepted) if len(identity.whole.body) >= MIN_CODED_BYTES else b""
        found = self._variants.get(coding)
        if found is None:
            found = self._variants[coding] = self._variant(coding, encoded(identity.whole.body, coding))
        return found

    def held(self, asked: bytes) -> Variant | None:
        """The variant that the client says he has."""
        if (alone := self._by_tag.get(asked)) is not None:
            return alone
        if asked.strip() == b"*":
            return self._variants[b""]
        tags = {tag.strip().removeprefix(b"W/") for tag in asked.split(b",")}
        return next((variant for variant in self._variants.values() if variant.tag in tags), None)

    def _variant(self, coding: bytes, body: bytes) -> Variant:
        tag = b'%b-%b"' % (self._tag[:-1], coding) if coding else self._tag
        told: Headers = [(b"etag", tag), VARY]
        whole = [*self._headers, *told, (b"content-length", str(len(body)).encode())]
        if coding:
            whole.append((b"content-encoding", coding))
        kept_on_304 = [item for item in self._headers if item[0] in {b"cache-control", b"link"}]
        made = self._by_tag[tag] = Variant(tag, Ready(200, whole, body), Ready(304, [*kept_on_304, *told], b""))
        return made


class ResponseCache:
    """Keeps answers to the paths that a pattern of `kinds` fits, which says of what kind the data behind them is.

    `on_hit` is called with each request that the application doesn't see.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        kinds: Mapping[re.Pattern[str], str],
        on_hit: Callable[[Scope], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kinds = dict(kinds) if settings.cache_enabled else {}
        self._lifetime = settings.cache_default_timeout
        self._generations = database.generations
        self._on_hit = on_hit
        self._clock = clock
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._bytes = 0
        self._newest: dict[str, int] = {}
        self._flights: dict[bytes, asyncio.Future[Kept | None]] = {}
        self._shared = SharedStore(settings) if settings.redis_url and settings.cache_enabled else None

    async def answer(self, exchange: Exchange, load: Load) -> bool:
        """Answer from what is kept, or from what `load` makes the application say; False: it is none of ours.

        Of several requests for the same, one loads and the others wait for it.
        """
        scope = exchange.scope
        kind = self.kind_of(exchange)
        if kind is None:
            return False
        number = await self._generations.number(kind)
        if number is None:
            return False
        if self._newest.get(kind) != number:
            self._newest[kind] = number
            self._kept.clear()
            self._bytes = 0
        key = self.key_of(scope)
        kept = self._fresh(key, number)
        if kept is None and (flight := self._flights.get(key)):
            kept = await asyncio.shield(flight)
            if kept is None:
                return False
        if kept is not None:
            self.count_hit(scope)
            await self._send(exchange, kept)
            return True
        await self._load(exchange, load, key, number)
        return True

    def at_once(self, kind: str, key: bytes, given: Mapping[bytes, bytes]) -> Ready | None:
        """What is kept for a request with these headers, if nobody has to be waited for."""
        number = self._generations.fresh(kind)
        kept = None if number is None else self._fresh(key, number)
        return None if kept is None else _fitting(kept, given)

    def count_hit(self, scope: Scope) -> None:
        metrics.cache_hits_total.inc()
        self._on_hit(scope)

    async def close(self) -> None:
        if self._shared:
            await self._shared.close()

    @staticmethod
    def key_of(scope: Scope) -> bytes:
        return b"%b?%b" % (scope["path"].encode(), scope["query_string"])

    def kind_of(self, exchange: Exchange) -> str | None:
        """What the answer would be kept under; None for whatever has credentials or is no catalogue data."""
        scope, given = exchange.scope, exchange.given
        if scope["method"] != "GET" or b"authorization" in given or b"cookie" in given:
            return None
        return next((kind for pattern, kind in self._kinds.items() if pattern.fullmatch(scope["path"])), None)

    def _fresh(self, key: bytes, number: int) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None or kept.generation != number or kept.expires_at < self._clock():
            return None
        self._kept.move_to_end(key)
        return kept

    async def _load(self, exchange: Exchange, load: Load, key: bytes, number: int) -> None:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        kept = None

        def land() -> None:
            if not flight.done():
                del self._flights[key]
                flight.set_result(kept)

        shared_key = b"%d:%b" % (number, key)
        try:
            answer = await self._found(shared_key)
            if answer is not None:
                self.count_hit(exchange.scope)
            else:
                metrics.cache_misses_total.inc()
                answer = await self._worked_out(exchange, load, land)
                if answer is not None and self._shared:
                    self._shared.put(shared_key, packed(*answer), seconds=self._lifetime)
            if answer is not None:
                kept = Kept(number, self._clock() + self._lifetime, *answer)
                self._keep(key, kept)
        finally:
            land()
        if kept is not None:
            await self._send(exchange, kept)

    async def _found(self, shared_key: bytes) -> tuple[Headers, bytes] | None:
        """The answer that another process worked out."""
        found = await self._shared.get(shared_key) if self._shared else None
        return unpacked(found) if found else None

    async def _worked_out(
        self, exchange: Exchange, load: Load, on_pass: Callable[[], None]
    ) -> tuple[Headers, bytes] | None:
        """The application's answer, if it may be kept; any other has been passed on."""
        recorded = Recorder(exchange.send, on_pass=on_pass)
        # A copy: whoever has the answer already is told so from what is kept.
        unconditional = [item for item in exchange.scope["headers"] if item[0] != b"if-none-match"]
        await load({**exchange.scope, "headers": unconditional}, recorded.send)
        return None if recorded.headers is None else (recorded.headers, bytes(recorded.body))

    def _keep(self, key: bytes, kept: Kept) -> None:
        if (former := self._kept.pop(key, None)) is not None:
            self._bytes -= former.size
        self._kept[key] = kept
        self._bytes += kept.size
        while self._bytes > MAX_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size

    async def _send(self, exchange: Exchange, kept: Kept) -> None:
        await exchange.send_ready(_fitting(kept, exchange.given))


def _fitting(kept: Kept, given: Mapping[bytes, bytes]) -> Ready:
    asked = given.get(b"if-none-match")
    if asked and (held := kept.held(asked)):
        return held.not_modified
    return kept.variant(given.get(b"accept-encoding", b"")).whole


class Recorder:
    """Takes in an answer that may be kept; passes on any other as it comes, and says so at its start.

    Such an answer may go on for long: nobody must wait for its end.
    """

    def __init__(self, passed_on: Send, *, on_pass: Callable[[], None]) -> None:
        self._passed_on = passed_on
        self._on_pass = on_pass
        self.headers: Headers | None = None
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _may_be_kept(message):
            self.headers = message["headers"]
        elif self.headers is None:
            self._on_pass()
            await self._passed_on(message)
        else:
            self.body += message.get("body", b"")


def _may_be_kept(message: Message) -> bool:
    headers = dict(message.get("headers", ()))
    if message["status"] != 200 or headers.get(b"cache-control") != SHARED or b"set-cookie" in headers:  # noqa: PLR2004  # OK
        return False
    return b"etag" in headers and int(headers.get(b"content-length", MAX_ANSWER_BYTES + 1)) <= MAX_ANSWER_BYTES


def packed(headers: Headers, body: bytes) -> bytes:
    """An answer as one piece: a line a header, an empty line, the body."""
    return b"".join(b"%b: %b\n" % header for header in headers) + b"\n" + body


def unpacked(piece: bytes) -> tuple[Headers, bytes] | None:
    """What was packed; None if it is something else."""
    head, _, body = piece.partition(b"\n\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in head.split(b"\n"))]
    given = dict(headers)
    is_whole = given.get(b"content-length") == b"%d" % len(body) and b"\r" not in head
    return (headers, body) if is_whole and given.get(b"cache-control") == SHARED and b"etag" in given else None
