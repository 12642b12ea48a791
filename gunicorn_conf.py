"""The service under gunicorn, for who runs that already: `gunicorn -c gunicorn_conf.py`, in the folder of this file.

It has the settings of `library serve`, its server and its stop in two steps. Workers: WEB_CONCURRENCY; without it as
many as the processors that the container may use times WORKERS_PER_CORE, rounded down, at least one. Migrate first.
"""

import math
import os
import sys
from contextlib import suppress
from typing import Any

from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker

from app.commands.serve import share_metrics
from app.core.config import load_settings
from app.core.container import Container
from app.core.errors import AppError, SettingsError

MERCY_SECONDS = 5

try:
    settings = load_settings()
    if "web_concurrency" not in settings.model_fields_set:
        cores = Container().cores() or len(os.sched_getaffinity(0))
        settings = load_settings(web_concurrency=max(1, math.floor(cores * settings.workers_per_core)))
except SettingsError as error:
    sys.exit(f"The settings can't be used:\n{error}")


class Worker(UvicornWorker):  # type: ignore[misc]  # theirs has no types
    """uvicorn as `library serve` runs it: told to stop, it says so for SHUTDOWN_DELAY seconds before it closes."""

    def load_wsgi(self) -> None:
        """Nothing yet: the application has to know when its server drains."""

    def run(self) -> None:
        # Forked workers would share what the application holds, were it imported before.
        from app.commands import worker  # noqa: PLC0415

        started: list[bool] = []
        with suppress(KeyboardInterrupt):
            worker.run(
                settings,
                self.sockets,
                is_supervised=True,
                on_started=lambda: started.append(True),
                callback_notify=self.callback_notify,
                timeout_notify=self.timeout,
                limit_max_requests=self.max_requests,
            )
        if not started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)  # else gunicorn would try again for ever


def when_ready(server: Any) -> None:
    """The port is ours and nobody works yet: prepare what the workers share; from here on the lines look like ours."""
    try:
        share_metrics(settings)
        # Imports the metrics, which must not be before their folder stands.
        from app.commands import database  # noqa: PLC0415
        from app.core.logging import configure_logging  # noqa: PLC0415

        database.run(settings, database.check_migrated, migrated=False)
    except AppError as error:
        sys.exit(str(error))
    configure_logging(settings)
    server.log.info("serving at %s with %d workers", settings.address, settings.web_concurrency)


def child_exit(_server: Any, worker: Any) -> None:
    """What a worker that ended held is in no gauge any more."""
    from app.core import metrics  # noqa: PLC0415

    metrics.forget_process(worker.pid)


wsgi_app = "app.main:app"
bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.web_concurrency
worker_class = Worker
timeout = settings.timeout
graceful_timeout = settings.shutdown_delay + settings.graceful_timeout + MERCY_SECONDS
# Off: under load a recycled worker drops connections. KEEPALIVE goes to uvicorn with the other settings.
max_requests = settings.max_requests
max_requests_jitter = settings.max_requests_jitter
worker_tmp_dir = "/dev/shm"  # noqa: S108  # a worker's sign of life must not wait for a disk
control_socket_disable = True
