"""One request and its answer at the ASGI level: bounds on what comes in, the headers of what goes out."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import structlog
import uuid_utils

from app.core.errors import PROBLEM_MEDIA_TYPE, AppError, BadRequest, TooLarge, encode_problem, problem_document

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
ErrorPage = Callable[[Scope, AppError, str], tuple[Headers, bytes] | None]
"""What a person who opened a page sees of a refusal, given the request's id; None for programs."""

log = structlog.get_logger()
_for_crowds: "dict[str, Ready]" = {}

SendAtOnce = Callable[[int, bytes, bytes], Awaitable[None]]
READY: Final = "library.ready"
"""The scope's extension by which a server takes (status, head, body) in one piece (app/commands/protocol.py)."""

MAX_BODY_BYTES: Final = 1_000_000
ID_HERE: Final = b"{request_id}"
MAX_HEADER_BYTES: Final = 16_384
REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")

# On every answer, errors too. A page that a browser renders (the docs) replaces the policy with its own; nothing else
# is ever rendered. X-XSS-Protection is left out: the filter that it steered was removed from browsers, and while it was
# there it could be made to disable parts of a page.
SECURITY_HEADERS: Final[dict[bytes, bytes]] = {
    b"cache-control": b"no-store",  # unless an endpoint says that its answer may be kept
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
}
# Over TLS only: without it a browser ignores the header, and a stranger on the line could plant or strip it.
STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class MalformedLength(BadRequest):
    code, detail = "malformed_length", "Content-Length isn't a number."


class SlowBody(AppError):
    status, code, detail = 408, "slow_body", "The body didn't arrive in time."


class Ready:
    """An answer that is kept to be sent again: its headers also as the lines that they become."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status, self.headers, self.body = status, completed(headers), body
        self.head = lines(self.headers)


class Exchange:
    """One request and its answer: counts what comes in, completes the headers of what goes out.

    `given` are the request's headers, `headers` those that the shell adds to the answer, whatever it will be.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, error_page: ErrorPage | None = None) -> None:
        self._error_page = error_page
        self.started = time.perf_counter()
        self.scope = scope
        # One spelling inside: `/x/` is `/x`, without a redirect.
        if len(scope["path"]) > 1:
            scope["path"] = scope["path"].rstrip("/") or "/"
        # HEAD is GET whose body is kept back, on every route.
        self._is_head = scope["method"] == "HEAD"
        if self._is_head:
            scope["method"] = "GET"
        # Where a header comes twice, the first counts.
        self.given: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.request_id = request_id_of(self.given.get(b"x-request-id"))
        scope.setdefault("state", {}).update(request_id=self.request_id, is_head=self._is_head)
        self.status = 500
        self._at_once: SendAtOnce | None = scope.get("extensions", {}).get(READY)
        self._receive = receive
        self._send = send
        self.headers: Headers = []
        self.is_receiving = False
        self._idle_seconds: float | None = None
        self._is_body_complete = False
        self._limit_bytes = MAX_BODY_BYTES
        self._received_bytes = 0
        self._is_started = False
        # The head of an answer whose length is known waits for its body, so that both leave together.
        self._held: tuple[Headers, bytes] | None = None

    def limit_body(self, limit_bytes: int) -> None:
        """Refuse at once a body that is announced too large, and stop one that turns out so."""
        self._limit_bytes = limit_bytes
        announced = self.given.get(b"content-length", b"0")
        if not announced.isdigit():
            raise MalformedLength
        if int(announced) > limit_bytes:
            raise TooLarge(limit_bytes=limit_bytes)

    def idle_limit(self, seconds: float) -> None:
        """Give up on a body of which nothing has come for so long."""
        self._idle_seconds = seconds

    async def receive(self) -> Message:
        if self._is_body_complete:
            # Whoever streams an answer waits here for the client to leave, which may take hours.
            return await self._receive()
        self.is_receiving = True
        try:
            async with asyncio.timeout(self._idle_seconds):
                message = await self._receive()
        except TimeoutError:
            raise SlowBody from None
        self.is_receiving = False
        self._is_body_complete = not message.get("more_body", False)
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
            await self._send_body(message)

    async def fail(self, error: Exception) -> None:
        """Answer with the problem document of `error`, if nothing has been sent yet."""
        refusal = error if isinstance(error, AppError) else AppError()
        if refusal is not error:
            log.error("unhandled_exception", exc_info=error)
        if self._is_started:
            return
        self._held = None
        page = self._error_page(self.scope, refusal, self.request_id) if self._error_page else None
        if refusal.is_for_crowds and page is None:
            await self._turn_away(refusal)
            return
        kind, body = page or _problem(refusal, self.request_id)
        headers = [
            *kind,
            (b"content-length", str(len(body)).encode()),
            *_as_sent(refusal),
        ]
        if isinstance(refusal, TooLarge | SlowBody):
            headers.append((b"connection", b"close"))
        await self._start({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._send_body({"type": "http.response.body", "body": body})

    async def _turn_away(self, refusal: AppError) -> None:
        """What turning away costs is taken from those who are served: nothing is put together but the id."""
        ready = _for_crowds.get(refusal.code)
        if ready is None:
            headers, body = _problem(refusal, ID_HERE.decode())
            ready = _for_crowds[refusal.code] = Ready(refusal.status, [*headers, *_as_sent(refusal)], body)
        body = ready.body.replace(ID_HERE, self.request_id.encode())
        self.headers.append((b"content-length", str(len(body)).encode()))
        await self.send_ready(ready, body)

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = [*completed(message.get("headers", [])), *self._own()]
        given = dict(headers) if self._at_once else {}
        if (announced := given.get(b"content-length")) and b"connection" not in given:
            self._held = headers, announced
            return
        self._is_started = True
        await self._send({**message, "headers": headers})

    async def _send_body(self, message: Message) -> None:
        """A piece of the body, after the head if that was held; in one write if the piece is as long as was said."""
        message = {**message, "body": b""} if self._is_head else message
        if self._held is not None:
            headers, announced = self._held
            self._held, self._is_started = None, True
            body = message.get("body", b"")
            is_whole = not message.get("more_body") and (self._is_head or announced == b"%d" % len(body))
            if self._at_once and is_whole:
                await self._at_once(self.status, lines(headers), body)
                return
            await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send(message)

    async def send_ready(self, ready: "Ready", body: bytes | None = None) -> None:
        """Answer with what is complete but for the headers that only this answer has, or with another body."""
        self._is_started = True
        self.status = ready.status
        body = b"" if self._is_head else ready.body if body is None else body
        if self._at_once:
            await self._at_once(ready.status, ready.head + lines(self._own()), body)
            return
        headers = [*ready.headers, *self._own()]
        await self._send({"type": "http.response.start", "status": ready.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _own(self) -> Headers:
        """The headers that only this answer has."""
        strict = [STRICT_TRANSPORT] if self.scope.get("scheme") == "https" else []
        return [*strict, *self.headers, (b"x-request-id", self.request_id.encode())]


def _problem(refusal: AppError, request_id: str) -> tuple[Headers, bytes]:
    document = problem_document(refusal.status, refusal.code, str(refusal), request_id=request_id, **refusal.facts)
    return [(b"content-type", PROBLEM_MEDIA_TYPE.encode())], encode_problem(document)


def _as_sent(refusal: AppError) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]


def completed(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """An answer's headers, with those of the house where it has none of its own."""
    given = list(headers)
    present = {name for name, _ in given}
    return given + [item for item in SECURITY_HEADERS.items() if item[0] not in present]


def lines(headers: Headers) -> bytes:
    """Headers as lines of HTTP/1.1.

    Raises:
        ValueError: one holds a line's end, and would become two.
    """
    joined = b"".join([b"%b: %b\r\n" % header for header in headers])
    if joined.count(b"\n") > len(headers) or joined.count(b"\r") > len(headers):
        raise ValueError("a header holds the end of a line")
    return joined


def request_id_of(given: bytes | None) -> str:
    """The id that came along, if it is one, else a new one."""
    return given.decode() if given and REQUEST_ID.fullmatch(given) else uuid_utils.uuid7().hex
