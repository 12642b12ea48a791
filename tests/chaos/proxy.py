"""A TCP proxy that does harm: it delays, trickles, stalls, cuts or refuses what passes between two programs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Self

CHUNK_BYTES: Final = 65_536
TRICKLE_SECONDS: Final = 0.005
LIMIT_BYTES: Final = 2**20


class FaultProxy:
    """Passes bytes on, unless told otherwise; what it is told holds at once, for connections that stand too.

    `delay_seconds` is waited before each piece, in either direction. `trickle_bytes` is the size of the pieces in
    which a piece is passed on, a few milliseconds apart. While it `stalls`, nothing passes and nothing is closed.
    While it `refuses`, connections are accepted and closed.
    """

    def __init__(self, host: str, port: int, *, listen: int = 0) -> None:
        self.delay_seconds = 0.0
        self.trickle_bytes = 0
        self.refuses = False
        self.passed_bytes = 0
        self.port = listen
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many stand; each has two ends."""
        return len(self._open) // 2

    def stall(self, *, stalls: bool) -> None:
        """Let nothing pass, or let it pass again; what came meanwhile is not lost."""
        if stalls:
            self._flows.clear()
        else:
            self._flows.set()

    def cut(self) -> int:
        """Reset every connection, whatever is under way in it; returns how many there were."""
        had = self.connections
        for writer in list(self._open):
            writer.transport.abort()
        return had

    def heal(self) -> None:
        """Pass everything on again."""
        self.delay_seconds, self.trickle_bytes, self.refuses = 0.0, 0, False
        self.stall(stalls=False)

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=LIMIT_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuses:
            writer.transport.abort()
            return
        try:
            onward, outward = await asyncio.open_connection(*self._target, limit=LIMIT_BYTES)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, outward}
        self._open |= ends
        try:
            # Before Python 3.12 the server tells the loop of a handler that was cancelled as of a fault.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._pass(reader, outward), self._pass(onward, writer))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()
                with suppress(OSError):
                    await end.wait_closed()

    async def _pass(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """One direction, to its end; an end that is cut cuts the other one."""
        with suppress(OSError):
            while piece := await source.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                size = self.trickle_bytes or len(piece)
                for start in range(0, len(piece), size):
                    await self._flows.wait()
                    to.write(piece[start : start + size])
                    await to.drain()
                    if self.trickle_bytes:
                        await asyncio.sleep(TRICKLE_SECONDS)
                self.passed_bytes += len(piece)
            if to.can_write_eof():
                to.write_eof()
            return
        to.transport.abort()


@asynccontextmanager
async def fault_proxy(host: str, port: int, *, listen: int = 0) -> AsyncIterator[FaultProxy]:
    """One before a server, until the block ends."""
    proxy = await FaultProxy(host, port, listen=listen).start()
    try:
        yield proxy
    finally:
        await proxy.stop()
