"""The fault proxy does what it is told, to connections that stand too, and loses nothing that it wasn't told to."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from tests.chaos.proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.anyio

LONG = bytes(range(256)) * 1_000


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """Before a server that says everything again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, fault_proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, words: bytes) -> bytes:
        self.writer.write(words)
        return await self.reader.readexactly(len(words))


Call = Callable[[FaultProxy], Awaitable[Caller]]


@pytest.fixture
async def call(anyio_backend: str) -> AsyncIterator[Call]:
    callers: list[Caller] = []

    async def calling(proxy: FaultProxy) -> Caller:
        callers.append(Caller(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return callers[-1]

    yield calling
    for caller in callers:
        caller.writer.transport.abort()
        with suppress(OSError):
            await caller.writer.wait_closed()


async def test_everything_passes_unchanged_while_nothing_is_wrong(proxy: FaultProxy, call: Call) -> None:
    caller = await call(proxy)
    assert await caller.says(LONG) == LONG
    assert proxy.connections == 1
    caller.writer.write_eof()
    assert await caller.reader.read() == b""
    assert proxy.passed_bytes == 2 * len(LONG)


async def test_a_delay_holds_each_way_and_ends_when_it_is_healed(proxy: FaultProxy, call: Call) -> None:
    caller = await call(proxy)
    proxy.delay_seconds = 0.1
    began = time.monotonic()
    await caller.says(b"word")
    assert time.monotonic() - began >= 0.2
    proxy.heal()
    began = time.monotonic()
    await caller.says(b"word")
    assert time.monotonic() - began < 0.1


async def test_trickled_bytes_come_late_and_whole(proxy: FaultProxy, call: Call) -> None:
    caller = await call(proxy)
    proxy.trickle_bytes = 10
    began = time.monotonic()
    assert await caller.says(LONG[:200]) == LONG[:200]
    assert time.monotonic() - began >= 0.05  # twenty pieces of 5 ms, those of the way back beside them


async def test_a_stall_keeps_the_connection_and_what_was_said(proxy: FaultProxy, call: Call) -> None:
    caller = await call(proxy)
    proxy.stall(stalls=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await caller.says(b"word")
    proxy.stall(stalls=False)
    assert await caller.reader.readexactly(4) == b"word"


async def test_a_cut_resets_whoever_is_connected_and_nobody_afterwards(proxy: FaultProxy, call: Call) -> None:
    callers = [await call(proxy) for _ in range(3)]
    for caller in callers:
        await caller.says(b"word")
    assert proxy.cut() == 3
    for caller in callers:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await caller.says(b"word")
    assert await (await call(proxy)).says(b"word") == b"word"


async def test_who_is_refused_is_cut_off_and_who_is_there_stays(proxy: FaultProxy, call: Call) -> None:
    before = await call(proxy)
    await before.says(b"word")
    proxy.refuses = True
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await (await call(proxy)).says(b"word")
    assert await before.says(b"word") == b"word"


async def test_a_server_that_is_away_is_told_by_a_reset(call: Call) -> None:
    async with fault_proxy("127.0.0.1", 9) as proxy:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await (await call(proxy)).says(b"word")
        assert proxy.connections == 0
