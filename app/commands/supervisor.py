"""The supervisor of several workers: starts them, replaces one that dies, passes signals on, waits for the last."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from typing import Final

import structlog

from app.core import metrics
from app.core.config import Settings
from app.core.errors import Unavailable

log = structlog.get_logger()

TICK_SECONDS: Final = 0.2
# On top of what a worker may take by its settings, before it is killed.
MERCY_SECONDS: Final = 5

# Spawned, not forked: a fork would share the parent's locks and random state with every worker.
_spawn: Final = multiprocessing.get_context("spawn")


class WorkerFailed(Unavailable):
    code, detail = (
        "worker_failed",
        (
            "A worker ended before it could answer (exit code {exit_code}); the lines above say why."
            " The service has stopped."
        ),
    )


@dataclass(frozen=True, slots=True)
class Worker:
    process: SpawnProcess
    is_ready: Event


class Supervisor:
    """Keeps WEB_CONCURRENCY workers answering on the same sockets until a signal."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], *, on_started: Callable[[], None]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._on_started = on_started
        self._signals: list[int] = []
        self._workers: list[Worker] = []

    def run(self) -> None:
        """Return when every worker has ended.

        Raises:
            WorkerFailed: one could not even start; the others are stopped.
            KeyboardInterrupt: it was SIGINT.
        """
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda received, _frame: self._signals.append(received))
        signal.signal(signal.SIGUSR1, lambda *_: _tell(self._alive(), signal.SIGUSR1))
        has_told = False
        try:
            self._workers = [self._start() for _ in range(self._settings.web_concurrency)]
            while not self._signals:
                connection.wait([worker.process.sentinel for worker in self._workers], timeout=TICK_SECONDS)
                self._replace_the_dead()
                if not has_told and all(worker.is_ready.is_set() for worker in self._workers):
                    has_told = True
                    self._on_started()
        finally:
            self._stop()
        if self._signals[0] == signal.SIGINT:
            raise KeyboardInterrupt

    def _start(self) -> Worker:
        is_ready = _spawn.Event()
        process = _spawn.Process(target=_work, args=(self._settings, self._sockets, is_ready))
        process.start()
        return Worker(process, is_ready)

    def _replace_the_dead(self) -> None:
        for index, worker in enumerate(self._workers):
            if worker.process.is_alive() or self._signals:
                continue
            exit_code = worker.process.exitcode
            metrics.forget_process(worker.process.pid or 0)
            if not worker.is_ready.is_set():
                raise WorkerFailed(exit_code=exit_code)
            log.error("worker_died", pid=worker.process.pid, exit_code=exit_code)
            self._workers[index] = self._start()

    def _stop(self) -> None:
        """Let the workers finish; a second signal, or too long a wait, kills them: the database rolls back."""
        for each in self._sockets:
            each.close()  # the workers have their own; the port is free when the last one has closed it
        _tell(self._workers, signal.SIGINT if signal.SIGINT in self._signals else signal.SIGTERM)
        deadline = time.monotonic() + self._settings.shutdown_delay + self._settings.graceful_timeout + MERCY_SECONDS
        while (alive := self._alive()) and len(self._signals) <= 1 and time.monotonic() < deadline:
            connection.wait([worker.process.sentinel for worker in alive], timeout=TICK_SECONDS)
        if alive:
            log.warning("workers_killed", pids=[worker.process.pid for worker in alive])
            _tell(alive, signal.SIGKILL)
        for worker in alive:
            worker.process.join()

    def _alive(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.process.is_alive()]


def _tell(workers: Iterable[Worker], what: signal.Signals) -> None:
    for worker in workers:
        if worker.process.pid:
            with suppress(ProcessLookupError):
                os.kill(worker.process.pid, what)


def _work(settings: Settings, sockets: list[socket.socket], is_ready: Event) -> None:
    """What a worker's process runs."""
    # The supervisor does without the application: 60 MiB and half a second.
    from app.commands import worker  # noqa: PLC0415

    threading.Thread(target=_follow_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):
        worker.run(settings, sockets, is_supervised=True, on_started=is_ready.set)


def _follow_parent() -> None:
    """A supervisor that was killed leaves nobody behind."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
