"""The shell: the one ASGI layer around the application, so that what every request needs costs one layer.

Order: request id → URL → [probe] → host → limiter → body limit → response cache → application; headers are set and the
request is measured on the way out, whatever happened inside.
"""

import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

import structlog
import uuid_utils

from app.core import metrics
from app.core.config import Settings
from app.core.errors import (
    PROBLEM_MEDIA_TYPE,
    AppError,
    BadRequest,
    TooLarge,
    encode_problem,
    problem_document,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

log = structlog.get_logger()

MAX_BODY_BYTES: Final = 1_000_000
MAX_URL_BYTES: Final = 4_096
MAX_HEADER_BYTES: Final = 16_384
SLOW_SECONDS: Final = 1.0
REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")

# A page that a browser renders (the docs) replaces the policy with its own; nothing else is ever rendered.
SECURITY_HEADERS: Final[dict[bytes, bytes]] = {
    b"cache-control": b"no-store",  # unless an endpoint says that its answer may be kept
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


class MalformedUrl(BadRequest):
    code, detail = "malformed_url", "The address isn't valid UTF-8 or holds a NUL character."


class UnknownHost(BadRequest):
    code, detail = "unknown_host", "This service doesn't answer to that host name; ALLOWED_HOSTS lists those it does."


class UrlTooLong(AppError):
    status, code, detail = 414, "url_too_long", "The address is longer than {limit_bytes} bytes."


class HeadersTooLarge(AppError):
    status, code, detail = 431, "headers_too_large", "The headers are larger than {limit_bytes} bytes together."


class Limiter(Protocol):
    """Says whether a request may go on; the identity issue's place."""

    async def admit(self, scope: Scope) -> AppError | None: ...


class ResponseCache(Protocol):
    """Answers from ready bytes, or returns False and lets the application answer; the speed issue's place."""

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

    def match(self, path: str) -> str:
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
        cache: ResponseCache | None = None,
    ) -> None:
        self.app = app
        self.hosts = settings.hosts
        self.endpoints = endpoints
        self.probes = probes
        self.limiter = limiter
        self.cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        exchange = Exchange(scope, receive, send)
        endpoint = self.endpoints.match(scope["path"])
        in_progress = metrics.http_requests_in_progress.labels(method, endpoint)
        in_progress.inc()
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        try:
            await self._serve(exchange)
        except Exception as error:  # noqa: BLE001  # the outermost layer: logs it and answers 500
            await exchange.fail(error)
        finally:
            in_progress.dec()
            seconds = time.perf_counter() - exchange.started
            metrics.http_requests_total.labels(method, endpoint, str(exchange.status)).inc()
            metrics.http_request_duration_seconds.labels(method, endpoint).observe(seconds)
            if seconds > SLOW_SECONDS or exchange.status >= 500:  # noqa: PLR2004  # the server's own failures
                log.warning(
                    "request", method=method, endpoint=endpoint, status=exchange.status, seconds=round(seconds, 3)
                )
            structlog.contextvars.clear_contextvars()

    async def _serve(self, exchange: "Exchange") -> None:
        scope = exchange.scope
        _check_url(scope)
        if scope["path"] not in self.probes:
            self._check_host(scope)
            if self.limiter and (refusal := await self.limiter.admit(scope)):
                raise refusal
        exchange.limit_body(MAX_BODY_BYTES)
        if self.cache and await self.cache.answer(scope, exchange.send):
            return
        await self.app(scope, exchange.receive, exchange.send)

    def _check_host(self, scope: Scope) -> None:
        if "*" in self.hosts:
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        if name not in self.hosts:
            raise UnknownHost


METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Exchange:
    """One request and its answer: counts what comes in, completes the headers of what goes out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        # One spelling inside: `/x/` is `/x`, without a redirect.
        if len(scope["path"]) > 1:
            scope["path"] = scope["path"].rstrip("/") or "/"
        # HEAD is GET whose body is kept back, on every route.
        self._is_head = scope["method"] == "HEAD"
        if self._is_head:
            scope["method"] = "GET"
        self.request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.status = 500
        self._receive = receive
        self._send = send
        self._limit_bytes = MAX_BODY_BYTES
        self._received_bytes = 0
        self._is_started = False

    def limit_body(self, limit_bytes: int) -> None:
        """Refuse at once a body that is announced too large, and stop one that turns out so."""
        self._limit_bytes = limit_bytes
        announced = next((value for name, value in self.scope["headers"] if name == b"content-length"), b"0")
        if int(announced) > limit_bytes:
            raise TooLarge(limit_bytes=limit_bytes)

    async def receive(self) -> Message:
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._is_too_large:
            raise TooLarge(limit_bytes=self._limit_bytes)
        return message

    @property
    def _is_too_large(self) -> bool:
        return self._received_bytes > self._limit_bytes

    async def send(self, message: Message) -> None:
        if self._is_too_large and not self._is_started:
            # The framework took the exception of `receive` for a malformed body; this is the true answer.
            await self.fail(TooLarge(limit_bytes=self._limit_bytes))
        elif message["type"] == "http.response.start":
            await self._start(message)
        elif not self._is_too_large:
            await self._send({**message, "body": b""} if self._is_head else message)

    async def fail(self, error: Exception) -> None:
        """Answer with the problem document of `error`, if nothing has been sent yet."""
        refusal = error if isinstance(error, AppError) else AppError()
        if refusal is not error:
            log.error("unhandled_exception", exc_info=error)
        if self._is_started:
            return
        document = problem_document(
            refusal.status, refusal.code, str(refusal), request_id=self.request_id, **refusal.facts
        )
        body = encode_problem(document)
        headers = [
            (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in refusal.headers.items()),
        ]
        if isinstance(refusal, TooLarge):
            headers.append((b"connection", b"close"))
        await self._start({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self._is_head else body})

    async def _start(self, message: Message) -> None:
        self._is_started = True
        self.status = message["status"]
        headers: Headers = list(message.get("headers", []))
        present = {name for name, _ in headers}
        headers += [item for item in SECURITY_HEADERS.items() if item[0] not in present]
        headers.append((b"x-request-id", self.request_id.encode()))
        await self._send({**message, "headers": headers})


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else uuid_utils.uuid7().hex


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
