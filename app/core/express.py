"""The express counter: a kept answer to a plain request, sent without a task, a scope or any other layer.

The shell tells which requests it has answered from its cache; the server's protocol asks here first. Whatever is not
plain (credentials, a body, a trace, another origin) or not known, the shell answers: with the same bytes, and slower.
"""

import time
from dataclasses import dataclass
from typing import Final, Protocol

from app.core import metrics
from app.core.cache import ResponseCache
from app.core.exchange import (
    MAX_HEADER_BYTES,
    STRICT_TRANSPORT,
    Exchange,
    Headers,
    Ready,
    Scope,
    lines,
    request_id_of,
)
from app.core.proxies import TrustedProxies
from app.core.tracing import Tracing

MAX_KNOWN: Final = 4_096
NOT_PLAIN: Final = frozenset({
    b"authorization", b"cookie", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"origin",
    b"traceparent", b"range",
})  # fmt: skip
FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
STRICT_LINE: Final = lines([STRICT_TRANSPORT])


class Log(Protocol):
    """Notes a request, or not: what goes well is noted now and then."""

    def __call__(
        self, method: str, endpoint: str, status: int, seconds: float, *, request_id: str, trace_id: str
    ) -> None: ...


class Allowance(Protocol):
    """Counts a stranger's read; what he is told of his limits, None if it is one too many."""

    def admit_at_once(self, host: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Known:
    """Where the answer to a request is kept, and how it is counted."""

    kind: str
    key: bytes
    endpoint: str
    route: metrics.Route
    scope: Scope


class Express:
    """Only requests that the shell has let through are known, by their address and host as they were sent."""

    def __init__(
        self,
        *,
        cache: ResponseCache,
        allowance: Allowance,
        proxies: TrustedProxies,
        tracing: Tracing | None,
        log: Log,
        common: Headers,
    ) -> None:
        self._cache = cache
        self._allowance = allowance
        self._proxies = proxies
        self._tracing = tracing
        self._log = log
        self._common = lines(common)
        self._known: dict[tuple[bytes, bytes | None], Known] = {}

    def learn(self, exchange: Exchange, endpoint: str, route: metrics.Route) -> None:
        """Remember a request that the cache has just answered."""
        scope = exchange.scope
        query: bytes = scope["query_string"]
        target = b"%b?%b" % (scope["raw_path"], query) if query else scope["raw_path"]
        name = (target, exchange.given.get(b"host"))
        if name in self._known or (kind := self._cache.kind_of(exchange)) is None:
            return
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        bare = {"path": scope["path"], "query_string": query}
        self._known[name] = Known(kind, self._cache.key_of(scope), endpoint, route, bare)

    def answer(
        self, target: bytes, headers: Headers, client: tuple[str, int] | None, scheme: str | None
    ) -> tuple[Ready, bytes] | None:
        """The kept answer and the lines that only this one has; None: it is the shell's."""
        began = time.perf_counter()
        given = dict(headers)
        known = self._known.get((target, given.get(b"host")))
        if known is None or len(given) < len(headers) or not NOT_PLAIN.isdisjoint(given):
            return None
        if sum(map(len, given)) + sum(map(len, given.values())) > MAX_HEADER_BYTES:
            return None
        ready = self._cache.at_once(known.kind, known.key, given)
        if ready is None:
            return None
        if not FORWARDED.isdisjoint(given):
            seen = {"client": client, "scheme": scheme, "headers": headers}
            self._proxies.apply(seen)
            client, scheme = seen["client"], seen["scheme"]  # type: ignore[assignment]  # as they were put in
        told = self._allowance.admit_at_once(client[0] if client else "unknown")
        if told is None:
            return None
        traced = self._tracing.begin(None) if self._tracing else None
        request_id = request_id_of(given.get(b"x-request-id"))
        self._cache.count_hit(known.scope)
        seconds = time.perf_counter() - began
        known.route.answered(ready.status, seconds)
        if traced:
            traced.end(method="GET", endpoint=known.endpoint, status=ready.status, request_id=request_id)
        trace_id = traced.trace_id if traced else request_id
        self._log("GET", known.endpoint, ready.status, seconds, request_id=request_id, trace_id=trace_id)
        strict = STRICT_LINE if scheme == "https" else b""
        return ready, b"%b%b%bx-request-id: %b\r\n" % (strict, self._common, told, request_id.encode())
