"""The supervisor of several workers: starts them, replaces one that dies, passes signals on, waits for the last.

It loads the application once and forks its workers, which share that memory (ADR 16). So nothing may be open or running
in this process that a fork would break: no thread, no event loop, no connection.
"""

import gc
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
from multiprocessing.context import ForkProcess
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Final

import structlog

from app.core import metrics
from app.core.config import Settings
from app.core.errors import Unavailable

if TYPE_CHECKING:  # loaded at run time by those who have several workers
    from fastapi import FastAPI

log = structlog.get_logger()

TICK_SECONDS: Final = 0.2
# On top of what a worker may take by its settings, before it is killed.
MERCY_SECONDS: Final = 5

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_fork: Final = multiprocessing.get_context("fork")


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
    process: ForkProcess
    is_ready: Event


class Supervisor:
    """Keeps WEB_CONCURRENCY workers answering on the same sockets until a signal."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], *, on_started: Callable[[], None]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._on_started = on_started
        self._signals: list[int] = []
        self._workers: list[Worker] = []
        # Nobody writes into it: whoever reads the end of it has lost his supervisor.
        self._lifeline = os.pipe()

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
        api = _load(self._settings)
        try:
            self._workers = [self._start(api) for _ in range(self._settings.web_concurrency)]
            while not self._signals:
                connection.wait([worker.process.sentinel for worker in self._workers], timeout=TICK_SECONDS)
                self._replace_the_dead(api)
                if not has_told and all(worker.is_ready.is_set() for worker in self._workers):
                    has_told = True
                    self._on_started()
        finally:
            self._stop()
        if self._signals[0] == signal.SIGINT:
            raise KeyboardInterrupt

    def _start(self, api: "FastAPI") -> Worker:
        is_ready = _fork.Event()
        given = (self._settings, api, self._sockets, self._lifeline, is_ready)
        process = _fork.Process(target=_work, args=given)
        # A signal that comes before the worker has taken off what it inherited from us waits for that.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return Worker(process, is_ready)

    def _replace_the_dead(self, api: "FastAPI") -> None:
        for index, worker in enumerate(self._workers):
            if worker.process.is_alive() or self._signals:
                continue
            exit_code = worker.process.exitcode
            metrics.forget_process(worker.process.pid or 0)
            if not worker.is_ready.is_set():
                raise WorkerFailed(exit_code=exit_code)
            log.error("worker_died", pid=worker.process.pid, exit_code=exit_code)
            self._workers[index] = self._start(api)

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


def _load(settings: Settings) -> "FastAPI":
    """Load what workers share, and leave it alone: a collection would write into each object, which ends the sharing.

    Raises:
        AssertionError: a thread is running, whose locks a fork would leave locked for ever.
    """
    # Only here, since one worker alone is no supervisor's.
    from app.commands import worker  # noqa: PLC0415

    api = worker.load(settings)
    assert threading.active_count() == 1, [thread.name for thread in threading.enumerate()]
    gc.collect()
    gc.freeze()
    return api


def _work(
    settings: Settings, api: "FastAPI", sockets: list[socket.socket], lifeline: tuple[int, int], is_ready: Event
) -> None:
    """What a worker's process runs."""
    from app.commands import worker  # noqa: PLC0415  # loaded by now

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    end, own_end = lifeline
    os.close(own_end)
    threading.Thread(target=_follow_parent, args=(end,), daemon=True).start()
    with suppress(KeyboardInterrupt):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        worker.run(settings, sockets, is_supervised=True, api=api, on_started=is_ready.set)


def _follow_parent(end: int) -> None:
    """A supervisor that was killed leaves nobody behind."""
    os.read(end, 1)
    os.kill(os.getpid(), signal.SIGTERM)
