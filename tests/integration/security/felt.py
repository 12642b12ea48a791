"""A process that serves as `library serve` does and feels, each millisecond, how late its event loop wakes it.

`python -m tests.integration.security.felt PORT`, its settings in the environment; GET /felt gives what was felt since
the last time, in seconds, and how nice each thread is.
"""

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from time import perf_counter

from app.commands import sockets, worker
from app.core.config import load_settings
from app.core.exchange import Receive, Scope, Send
from app.core.logging import configure_logging
from app.main import create_app

NAP_SECONDS = 0.001


class Feeling:
    """The application, and a task beside it that sleeps and wakes."""

    def __init__(self) -> None:
        self._app = create_app(load_settings())
        self._lags: list[float] = []
        self._watcher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/felt":
            await self._app(scope, receive, send)
            return
        self._watcher = self._watcher or asyncio.create_task(self._feel())
        felt, self._lags = self._lags, []
        body = json.dumps({"lags": felt, "nice": _niceness()}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def _feel(self) -> None:
        while True:
            lay_down = perf_counter()
            await asyncio.sleep(NAP_SECONDS)
            self._lags.append(perf_counter() - lay_down - NAP_SECONDS)


def _niceness() -> dict[str, int]:
    """The niceness of each thread of this process, by its name and number."""
    return {
        f"{thread.name} {thread.native_id}": os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
        if thread.native_id and Path(f"/proc/self/task/{thread.native_id}").exists()
    }


def main() -> None:
    settings = load_settings()
    configure_logging(settings)
    with sockets.bound("127.0.0.1", int(sys.argv[1])) as bound:
        server = worker.Server(
            worker.config(settings, Feeling()),
            draining=threading.Event(),
            delay_seconds=0,
            is_supervised=False,
            on_started=lambda: None,
        )
        server.run(bound)


if __name__ == "__main__":
    main()
