"""One process that answers requests: uvicorn around the application, and a stop that nobody notices."""

import asyncio
import gc
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI

from app.commands.protocol import Protocol
from app.commands.sockets import listen
from app.core.config import Settings
from app.core.logging import configure_logging, switch_level_on_signal
from app.main import build_api, create_app

log = structlog.get_logger()

LATECOMERS_SECONDS: Final = 1.0


class Server(uvicorn.Server):
    """A server that stops in two steps: it says that it drains and waits, then it finishes what it has.

    SIGTERM waits SHUTDOWN_DELAY in between, SIGINT doesn't; a second signal stops at once. A supervised server may
    hear the same signal twice, from the terminal or the process manager and from the supervisor, who alone decides
    when it is enough: there a repetition changes nothing.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        draining: threading.Event,
        delay_seconds: float,
        is_supervised: bool,
        on_started: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self.was_interrupted = False
        self._draining = draining
        self._delay_seconds = delay_seconds
        self._is_supervised = is_supervised
        self._on_started = on_started
        self._stop_at: float | None = None
        self._has_told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvloop keeps silent when somebody else has begun to listen between our bind and now.
        listen(sockets or [])
        await super().startup(sockets)
        # What stands now stays to the end; collecting garbage there stopped the loop for 0.2 s each time (measured).
        gc.freeze()
        if self.started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs between any two instructions of the loop's thread: sets marks that `on_tick` reads, logs nothing."""
        del frame
        self.was_interrupted = self.was_interrupted or sig == signal.SIGINT
        now = time.monotonic()
        if self._stop_at is None:
            self._stop_at = now + (self._delay_seconds if sig == signal.SIGTERM else 0)
            self._draining.set()
        elif not self._is_supervised:
            self.should_exit = self.force_exit = True
        elif sig == signal.SIGINT:
            self._stop_at = now

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None:
            left = self._stop_at - time.monotonic()
            if not self._has_told:
                self._has_told = True
                log.info("draining", stops_in_seconds=max(0, round(left)))
            self.should_exit = self.should_exit or left <= 0
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        letting_go = asyncio.create_task(self._let_go())
        await super().shutdown(sockets)
        letting_go.cancel()
        if self.force_exit:
            # uvicorn would leave the requests and the application to be torn down with the loop, with tracebacks.
            for task in self.server_state.tasks:
                task.cancel()
            await self.lifespan.shutdown()
        log.info("stopped", at_once=self.force_exit)

    async def _let_go(self) -> None:
        """End latecomers' connections once they have their answer, or have asked nothing for a second.

        uvloop tells of a connection a turn after it was accepted. One accepted just before the stop isn't among those
        that uvicorn ends, would be kept for the next request, and the stop would wait until it is given up.
        """
        while True:
            await asyncio.sleep(LATECOMERS_SECONDS)
            for connection in list(self.server_state.connections):
                connection.shutdown()


def load(settings: Settings) -> FastAPI:
    """What workers that are forked from this process share: the routes. Opens nothing and starts nothing."""
    return build_api(settings)


def run(
    settings: Settings,
    sockets: list[socket.socket],
    *,
    is_supervised: bool = False,
    api: FastAPI | None = None,
    on_started: Callable[[], None],
    **more: Any,
) -> None:
    """Answer requests on the sockets until a signal; `on_started` is called once requests are answered.

    `api` is what `load` has built before a fork; `more` is what another supervisor tells uvicorn besides.

    Raises:
        KeyboardInterrupt: it was SIGINT.
    """
    configure_logging(settings)
    switch_level_on_signal()
    draining = threading.Event()
    application = create_app(settings, is_draining=draining.is_set, api=api)
    server = Server(
        config(settings, application, **more),
        draining=draining,
        delay_seconds=settings.shutdown_delay,
        is_supervised=is_supervised,
        on_started=on_started,
    )
    server.run(sockets)
    logging.shutdown()
    if server.was_interrupted:
        raise KeyboardInterrupt


def config(settings: Settings, application: object, **more: Any) -> uvicorn.Config:
    """What uvicorn is told: our settings, and nothing of its own logs, access lines or server header."""
    return uvicorn.Config(
        application,  # type: ignore[arg-type]  # ours is typed by protocol, uvicorn's by asgiref
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the shell judges whom to believe (app/core/proxies.py)
        timeout_keep_alive=settings.keepalive,
        timeout_graceful_shutdown=settings.graceful_timeout,
        **more,
    )
