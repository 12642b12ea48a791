"""A stop waits for whoever has an answer to come, and not for a connection that came in the moment of the stop."""

import asyncio
import threading
import time

import pytest
from uvicorn.lifespan.off import LifespanOff

from app.commands import worker
from app.core.config import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["sqlite"])]


class Connection:
    """As the server knows one: told to end, it does so when it has nothing to answer any more."""

    def __init__(self, server: worker.Server, busy_seconds: float) -> None:
        self._connections = server.server_state.connections
        self._busy_until = time.monotonic() + busy_seconds

    def shutdown(self) -> None:
        if time.monotonic() >= self._busy_until:
            self._connections.discard(self)


@pytest.mark.parametrize("busy_seconds", [0.0, 2.5])
async def test_a_latecomer_does_not_hold_up_the_stop(settings: Settings, busy_seconds: float) -> None:
    async def application(*_: object) -> None:
        """Is never asked."""

    config = worker.config(settings, application)
    server = worker.Server(
        config, draining=threading.Event(), delay_seconds=0, is_supervised=False, on_started=lambda: None
    )
    server.lifespan, server.servers = LifespanOff(config), []
    began = time.monotonic()
    stopping = asyncio.create_task(server.shutdown())
    await asyncio.sleep(0.05)  # uvicorn has told those whom it knows by now
    server.server_state.connections.add(Connection(server, busy_seconds))  # type: ignore[arg-type]  # see above
    await stopping
    assert busy_seconds <= time.monotonic() - began < busy_seconds + 6
