"""The shell: the one ASGI layer around the application, so that what every request needs costs one layer.

Order: request id → client address → URL → [probe] → host → CORS → limiter → response cache → who asks → lane → body
limit → shortcut → application, under a deadline; headers are set and the request is measured on the way out, whatever
happened inside.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache, partial
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

import structlog

from app.core import metrics
from app.core.config import Settings
from app.core.cors import CrossOrigin
from app.core.errors import AppError, BadRequest, Unavailable
from app.core.exchange import (
    MAX_HEADER_BYTES,
    Application,
    ErrorPage,
    Exchange,
    Receive,
    Scope,
    Send,
    SlowBody,
)
from app.core.express import Express
from app.core.lanes import Fork, Lane, Lanes
from app.core.logging import REQUEST
from app.core.proxies import TrustedProxies
from app.core.tracing import Tracing, parent_of

log = structlog.get_logger()

MAX_URL_BYTES: Final = 4_096
SLOW_SECONDS: Final = 1.0
KNOWN_PATHS: Final = 4_096
ONE_LINE_IN: Final = 100


class MalformedUrl(BadRequest):
    code, detail = "malformed_url", "The address isn't valid UTF-8 or holds a NUL character."


class UnknownHost(BadRequest):
    code, detail = "unknown_host", "This service doesn't answer to that host name; ALLOWED_HOSTS lists those it does."


class UrlTooLong(AppError):
    status, code, detail = 414, "url_too_long", "The address is longer than {limit_bytes} bytes."


class HeadersTooLarge(AppError):
    status, code, detail = 431, "headers_too_large", "The headers are larger than {limit_bytes} bytes together."


class NoFilesHere(AppError):
    status, code = 415, "no_files_here"
    detail = "This address takes no multipart form; send JSON, or a form without files where one is asked for."


class DeadlineExceeded(Unavailable):
    code, detail = "deadline_exceeded", "The answer took too long and was given up; try again shortly."


Load = Callable[[Scope, Send], Awaitable[None]]


class Limiter(Protocol):
    """Says whether a request may go on, and adds to `exchange.headers` what the client should know of his limits."""

    async def admit(self, exchange: Exchange) -> AppError | None: ...


class Members(Protocol):
    """Says whether a request comes with a credential that was handed out here and is in force."""

    async def include(self, exchange: Exchange) -> bool: ...


class ResponseCache(Protocol):
    """Answers from ready bytes, or by letting `load` ask the application; False: it is none of its answers."""

    async def answer(self, exchange: Exchange, load: Load) -> bool: ...


class Shortcut(Protocol):
    """Answers in front of the application what needs none of its machinery; False: nothing was sent."""

    async def answer(self, scope: Scope, send: Send) -> bool: ...


class Endpoints:
    """Maps a path to its route template, so that metrics never carry an id."""

    def __init__(self, templates: Iterable[str]) -> None:
        unique = sorted(set(templates), key=lambda template: ("{" in template, template))
        self._fixed = {template: template for template in unique if "{" not in template}
        self._patterns = [template for template in unique if "{" in template]
        alternatives = (
            f"(?P<t{index}>{re.sub(r'[{][^}]*[}]', '[^/]+', template)})"
            for index, template in enumerate(self._patterns)
        )
        self._matcher = re.compile("|".join(alternatives) or r"(?!)")
        self.match = lru_cache(maxsize=KNOWN_PATHS)(self._match)

    def _match(self, path: str) -> str:
        fixed = self._fixed.get(path)
        if fixed:
            return fixed
        found = self._matcher.fullmatch(path)
        return self._patterns[int((found.lastgroup or "t")[1:])] if found else metrics.UNMATCHED


class Shell:
    """Wraps the application. Anything that is no HTTP request (lifespan) passes through."""

    def __init__(
        self,
        app: Application,
        *,
        settings: Settings,
        endpoints: Endpoints,
        probes: frozenset[str],
        limiter: Limiter | None = None,
        members: Members | None = None,
        cache: ResponseCache | None = None,
        shortcut: Shortcut | None = None,
        tracing: Tracing | None = None,
        error_page: ErrorPage | None = None,
    ) -> None:
        self.app = app
        self.hosts = settings.hosts
        self.proxies = TrustedProxies(settings.forwarded_allow_ips)
        self.cross_origin = CrossOrigin(settings.backend_cors_origins)
        self.lanes = Lanes(settings)
        self.endpoints = endpoints
        self.probes = probes
        self.limiter = limiter
        self.members = members
        self.cache = cache
        self.shortcut = shortcut
        self.tracing = tracing
        self._until_sample = ONE_LINE_IN
        self.error_page = error_page
        self.express: Express | None = None
        """For a server that asks it first (app/commands/protocol.py)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        exchange = Exchange(scope, receive, send, self.error_page)
        endpoint = self.endpoints.match(scope["path"])
        route = metrics.route(method, endpoint)
        route.in_progress.inc()
        parent = parent_of(scope["headers"])
        traced = self.tracing.begin(parent) if self.tracing else None
        trace_id = traced.trace_id if traced else parent[0] if parent else exchange.request_id
        told = REQUEST.set({"request_id": exchange.request_id, "trace_id": trace_id})
        is_crowded = False
        try:
            if await self._serve(exchange) and self.express:
                self.express.learn(exchange, endpoint, route)
        except Exception as error:  # noqa: BLE001  # the outermost layer: logs it and answers 500
            is_crowded = isinstance(error, AppError) and error.is_for_crowds
            await exchange.fail(error)
        finally:
            route.in_progress.dec()
            seconds = time.perf_counter() - exchange.started
            route.answered(exchange.status, seconds)
            if traced:
                traced.end(method=method, endpoint=endpoint, status=exchange.status, request_id=exchange.request_id)
            self.note(method, endpoint, exchange.status, seconds, is_crowded=is_crowded)
            REQUEST.reset(told)

    def note(
        self, method: str, endpoint: str, status: int, seconds: float, *, is_crowded: bool = False, **ids: str
    ) -> None:
        """A line for what failed or was slow, and for one in so many of the others.

        Those that a crowd is turned away with are others: they are counted, and a line for each costs more than it.
        """
        self._until_sample -= 1
        is_bad = seconds > SLOW_SECONDS or (status >= 500 and not is_crowded)  # noqa: PLR2004  # the server's failures
        if is_bad or self._until_sample <= 0:
            say = log.warning if is_bad else log.info
            say("request", method=method, endpoint=endpoint, status=status, seconds=round(seconds, 4), **ids)
        if self._until_sample <= 0:
            self._until_sample = ONE_LINE_IN

    async def _serve(self, exchange: "Exchange") -> bool:
        """Answer; True if the answer is kept."""
        scope = exchange.scope
        self.proxies.apply(scope)
        _check_url(scope)
        if scope["path"] in self.probes:
            await self.app(scope, exchange.receive, exchange.send)
            return False
        self._check_host(exchange)
        if await self.cross_origin.answer(exchange):
            return False
        if self.limiter and (refusal := await self.limiter.admit(exchange)):
            raise refusal
        load = partial(self._load, exchange)
        if self.cache and await self.cache.answer(exchange, load):
            return True
        await load(scope, exchange.send)
        return False

    async def _load(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        """Let the application answer, in its lane; what takes too long is cancelled, and rolls back."""
        async with await self._lane(exchange) as lane:
            if not lane.takes_files and exchange.given.get(b"content-type", b"").lower().startswith(b"multipart/"):
                raise NoFilesHere
            exchange.limit_body(lane.body_bytes)
            exchange.idle_limit(lane.idle_seconds)
            try:
                async with asyncio.timeout(lane.deadline_seconds) as deadline:
                    if not (self.shortcut and await self.shortcut.answer(scope, send)):
                        await self.app(scope, exchange.receive, send)
            except TimeoutError:
                if not deadline.expired():
                    raise
                raise (SlowBody if exchange.is_receiving else DeadlineExceeded) from None

    async def _lane(self, exchange: Exchange) -> Lane:
        way = self.lanes.of(exchange.scope["path"], exchange.scope["query_string"])
        if not isinstance(way, Fork):
            return way
        return way.member if self.members and await self.members.include(exchange) else way.stranger

    def _check_host(self, exchange: Exchange) -> None:
        if "*" in self.hosts:
            return
        host = exchange.given.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        if name not in self.hosts:
            raise UnknownHost


METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _check_url(scope: Scope) -> None:
    raw_path, query = scope.get("raw_path") or b"", scope["query_string"]
    if len(raw_path) + len(query) > MAX_URL_BYTES:
        raise UrlTooLong(limit_bytes=MAX_URL_BYTES)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(limit_bytes=MAX_HEADER_BYTES)
    for part in (raw_path, query):
        if b"%" not in part and part.isascii():
            continue
        decoded = unquote_to_bytes(part)
        if b"\0" in decoded or not _is_utf8(decoded):
            raise MalformedUrl


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
