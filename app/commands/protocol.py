"""uvicorn's HTTP/1.1 with two shorter ways to answer: at once from what is kept, and head and body in one write."""

from asyncio import TimerHandle
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.core.exchange import READY, Headers, lines
from app.core.express import Express


class Protocol(HttpToolsProtocol):
    """Asks the application's express counter first, if it has one; plain requests that it knows need no task.

    Offers `READY` as an extension of the scope; whoever doesn't know it answers by ASGI's messages.
    """

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._express: Express | None = getattr(self.app, "express", None)
        self._is_answered = False
        self._common: Headers = []
        self._common_lines = b""
        self._idle_since: float | None = None
        self._idle_timer: TimerHandle | None = None

    def on_message_begin(self) -> None:
        """The scope waits until it is known that somebody needs it."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        if self._express and self._answer_at_once(self._express):
            return
        read = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = read
        self.scope["headers"] = self.headers
        former = self.cycle
        super().on_headers_complete()
        if self.cycle is not former:  # what is upgraded has no cycle of its own
            # The application's task is made, but has not begun.
            self.scope["extensions"] = {READY: partial(_send, self.cycle)}  # type: ignore[dict-item]  # ours is a function

    def on_message_complete(self) -> None:
        if self._is_answered:
            self._is_answered = False
        else:
            super().on_message_complete()

    def _answer_at_once(self, express: Express) -> bool:
        """Answer a request that follows nothing unfinished, if the counter can."""
        parser = self.parser
        if parser.get_method() != b"GET" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return False
        if self._is_under_way or self.flow.write_paused:
            return False
        found = express.answer(self.url, self.headers, self.client, self.scheme)
        if found is None:
            return False
        ready, own = found
        if self._common is not self.server_state.default_headers:  # the date: once a second
            self._common = self.server_state.default_headers
            self._common_lines = lines(self._common)
        self.transport.write(
            b"".join((STATUS_LINE[ready.status], self._common_lines, ready.head, own, b"\r\n", ready.body))
        )
        self._is_answered = True
        self.server_state.total_requests += 1
        self._rest()
        return True

    def _rest(self) -> None:
        """Note that the connection is idle. uvicorn's own timer, made and cancelled for each request, costs 1.3 µs."""
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        idle_seconds = 0.0 if self._idle_since is None else self.loop.time() - self._idle_since
        if idle_seconds >= self.timeout_keep_alive:
            self.timeout_keep_alive_handler()
        else:
            left = self.timeout_keep_alive - idle_seconds
            self._idle_timer = self.loop.call_later(left, self._close_if_idle)

    def _unset_keepalive_if_required(self) -> None:
        """What has come, or is answered in the longer way, ends the rest; that way has a timer of its own."""
        self._idle_since = None
        super()._unset_keepalive_if_required()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    @property
    def _is_under_way(self) -> bool:
        """Whether an earlier request of the connection is still being answered."""
        former: RequestResponseCycle | None = self.cycle
        return former is not None and not former.response_complete


async def _send(cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> None:
    """Answer at once and wholly; nothing may have been sent before. `head` is lines that end with CR and LF."""
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    pieces = [STATUS_LINE[status]]
    for name, value in cycle.default_headers:
        pieces += (name, b": ", value, b"\r\n")
    pieces += (head, b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.transport.write(b"".join(pieces))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
