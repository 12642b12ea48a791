"""The scheduler: looks every few seconds which jobs are due and runs them; any number of schedulers do so once."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from app.core import job_runs
from app.core.config import Settings
from app.core.db import Database
from app.jobs import runner
from app.jobs.registry import JOBS, Job

log = structlog.get_logger()

TICK_SECONDS: Final = 5.0
# How long a process that answers requests waits for a job at its end; what is interrupted is due again at once.
PATIENCE_SECONDS: Final = 5.0


async def keep(
    database: Database,
    settings: Settings,
    *,
    stop: asyncio.Event,
    patience_seconds: float,
    jobs: Collection[Job] = tuple(JOBS.values()),
    tick_seconds: float = TICK_SECONDS,
) -> None:
    """Run what is due until `stop`; then let what runs finish, `patience_seconds` at most, and interrupt the rest."""
    running: dict[str, asyncio.Task[None]] = {}
    trouble = ""
    while not stop.is_set():
        try:
            for job, seen in await _due(database, settings, jobs):
                if job.name not in running or running[job.name].done():
                    running[job.name] = asyncio.create_task(_run(database, settings, job, seen))
            trouble = ""
        except Exception as error:  # noqa: BLE001  # no database, or not yet migrated: wait for it, and say so once
            if trouble != type(error).__name__:
                log.warning("scheduler_waits", reason=type(error).__name__)
            trouble = type(error).__name__
        await _pause(stop, tick_seconds * random.uniform(0.8, 1.2))  # noqa: S311  # spreads load, guards nothing
    under_way = [task for task in running.values() if not task.done()]
    if under_way:
        log.info("scheduler_finishes", jobs=[name for name, task in running.items() if not task.done()])
        await asyncio.wait(under_way, timeout=patience_seconds)
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)


@asynccontextmanager
async def beside(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Keep the schedule beside other work of this process, if SCHEDULER_ENABLED."""
    if not settings.scheduler_enabled:
        yield
        return
    stop = asyncio.Event()
    task = asyncio.create_task(keep(database, settings, stop=stop, patience_seconds=PATIENCE_SECONDS))
    try:
        yield
    finally:
        stop.set()
        await task


async def _due(
    database: Database, settings: Settings, jobs: Collection[Job]
) -> list[tuple[Job, job_runs.JobRun | None]]:
    zone = ZoneInfo(settings.timezone)
    async with database.reading() as session:
        now = await job_runs.clock(session)
        last = await job_runs.last_runs(session)
    return [
        (job, last.get(job.name)) for job in jobs if runner.due_at(job, last.get(job.name), now=now, zone=zone) <= now
    ]


async def _run(database: Database, settings: Settings, job: Job, seen: job_runs.JobRun | None) -> None:
    try:
        report = await runner.run_if_unclaimed(database, settings, job, seen=seen)
    except Exception as error:  # noqa: BLE001  # the database went away; the next look finds the job due again
        log.warning("job_interrupted", job=job.name, reason=type(error).__name__)
        return
    # A stock that was taken is no work done.
    if report is not None and (report.error or any(v for k, v in report.result.items() if k != "stock")):
        log.info("job_ran", job=job.name, seconds=report.duration_seconds, error=report.error, **report.result)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
