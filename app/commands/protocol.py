"""uvicorn's HTTP/1.1, with one more way to answer: a head that was put together before, and its body, in one write."""

from functools import partial

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.core.exchange import READY


class Protocol(HttpToolsProtocol):
    """Offers `READY` as an extension of the scope; whoever doesn't know it answers by ASGI's messages."""

    def on_headers_complete(self) -> None:
        former = self.cycle
        super().on_headers_complete()
        if self.cycle is not former:  # what is upgraded has no cycle of its own
            # The application's task is made, but has not begun.
            self.scope["extensions"] = {READY: partial(_send, self.cycle)}  # type: ignore[dict-item]  # ours is a function


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
