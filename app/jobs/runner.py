"""Running a job: it is claimed, shown to live while it runs, and what came of it is noted (app/core/job_runs.py)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import structlog

from app.core import job_runs
from app.core.config import Settings
from app.core.db import Database
from app.core.job_runs import JobRun
from app.core.schemas import JsonObject
from app.core.tasks import end
from app.jobs.failures import JobFailed
from app.jobs.registry import Job

log = structlog.get_logger()

# A job that failed is tried again this long after, if its schedule doesn't say sooner.
RETRY: Final = timedelta(minutes=5)
HEARTBEAT_SECONDS: Final = job_runs.LEASE.total_seconds() / 3
ERROR_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended; `error` is None if it did all its work."""

    job: str
    result: JsonObject
    error: str | None
    duration_seconds: float


def due_at(job: Job, last: JobRun | None, *, now: datetime, zone: ZoneInfo) -> datetime:
    """When the job is to run next; what was interrupted, or started in the future by a clock set wrong, is due now.

    While it runs: when the lease would end.
    """
    if last is None:
        return now
    if last.lease_until is not None and last.is_held(now):
        return last.lease_until
    if last.last_started_at > now:
        return now
    if last.last_finished_at is None or last.last_finished_at < last.last_started_at:
        return now
    due = job.schedule.after(last.last_started_at, zone)
    return min(due, last.last_finished_at + RETRY) if last.last_error else due


async def run(database: Database, settings: Settings, job: Job) -> Report:
    """Run a job now, whoever else may be running it: that is harmless."""
    holder = uuid4()
    async with database.transaction() as session:
        now = await job_runs.clock(session)
        await job_runs.start(session, name=job.name, holder=holder, now=now, max_age_seconds=job.max_age_seconds)
    return await _perform(database, settings, job, holder, now)


async def run_if_unclaimed(database: Database, settings: Settings, job: Job, *, seen: JobRun | None) -> Report | None:
    """Run a due job unless somebody else has begun to since it was `seen`."""
    holder = uuid4()
    async with database.transaction() as session:
        now = await job_runs.clock(session)
        is_ours = await job_runs.claim(
            session, name=job.name, seen=seen, holder=holder, now=now, max_age_seconds=job.max_age_seconds
        )
    if not is_ours:
        return None
    return await _perform(database, settings, job, holder, now)


async def _perform(database: Database, settings: Settings, job: Job, holder: UUID, now: datetime) -> Report:
    started = time.monotonic()
    result: JsonObject = {}
    error = None
    try:
        async with _heartbeat(database, job, holder), asyncio.timeout(job.max_seconds):
            result = await job.work(database, settings, now)
    except asyncio.CancelledError:
        async with database.transaction() as session:
            await job_runs.release(session, name=job.name, holder=holder)
        raise
    except JobFailed as failure:
        result, error = failure.result, str(failure)
        log.warning("job_failed", job=job.name, reason=error)
    except Exception as fault:  # whatever it is, the job's row says so and the next run tries again
        error = _told(fault)
        log.exception("job_failed", job=job.name)
    report = Report(job.name, result, error, round(time.monotonic() - started, 3))
    async with database.transaction() as session:
        await job_runs.finish(
            session,
            name=job.name,
            holder=holder,
            now=await job_runs.clock(session),
            duration_seconds=report.duration_seconds,
            result=result,
            error=error,
        )
    return report


@asynccontextmanager
async def _heartbeat(database: Database, job: Job, holder: UUID) -> AsyncIterator[None]:
    task = asyncio.create_task(_renew(database, job, holder))
    try:
        yield
    finally:
        await end(task)


async def _renew(database: Database, job: Job, holder: UUID) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            async with database.transaction() as session:
                await job_runs.renew(session, name=job.name, holder=holder, now=await job_runs.clock(session))
        except Exception as error:  # noqa: BLE001  # the job goes on; without its lease another may begin, harmlessly
            log.warning("job_lease_not_renewed", job=job.name, reason=type(error).__name__)


def _told(fault: Exception) -> str:
    """The first line only: what follows in a database's errors holds the statement's parameters."""
    if isinstance(fault, TimeoutError):
        return "took too long and was stopped"
    return f"{type(fault).__name__}: {str(fault).partition(chr(10))[0]}"[:ERROR_CHARACTERS]
