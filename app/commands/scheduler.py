"""`library scheduler`: the jobs, when they are due, in a process that answers no requests."""

import asyncio
import signal

import structlog
import typer

from app.commands import database as opened
from app.core.config import load_settings
from app.core.db import Database
from app.jobs import scheduler as schedulers
from app.jobs.registry import JOBS

app = typer.Typer(rich_markup_mode=None, add_completion=False)

log = structlog.get_logger()


@app.command()
def scheduler() -> None:
    """Run jobs when they are due, until told to stop.

    SIGTERM or Ctrl-C lets the jobs that run finish, GRACEFUL_TIMEOUT seconds at most; what is interrupted is due again
    at once, here or elsewhere. Any number of schedulers may run, beside services with SCHEDULER_ENABLED too: each run
    is claimed in the database. `library job list` shows the jobs.

    \b
    Examples:
      library scheduler
      GRACEFUL_TIMEOUT=300 library scheduler
    """
    settings = load_settings()

    async def work(database: Database) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stop.set)
        log.info("scheduling", jobs=list(JOBS))
        await schedulers.keep(database, settings, stop=stop, patience_seconds=settings.graceful_timeout)
        log.info("stopped")

    opened.run(settings, work, is_patient=True)
