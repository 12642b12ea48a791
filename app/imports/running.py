"""Running import jobs: claimed by compare-and-swap, held by a lease, taken up where they stopped."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import insert, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import Settings
from app.core.db import Database
from app.imports import service
from app.imports.jobs import path_of
from app.imports.models import ImportJob, ImportVerdict
from app.imports.schemas import Format, ImportStatus, Options, Outcome, RecordVerdict

log = structlog.get_logger()

LEASE: Final = timedelta(seconds=60)


class LeaseLost(Exception):  # not an error of this job: somebody else goes on with it
    """Another process took the job up, because this one seemed dead."""


async def run_pending(database: Database, *, settings: Settings, clock: Callable[[], datetime]) -> bool:
    """Take in the oldest file that waits, or whose runner died; False if there is none.

    Safe to call at any time, in many processes at once: a job is claimed by compare-and-swap and held by a lease that
    each batch renews.
    """
    job = await _claim(database, clock())
    if job is None:
        return False
    log.info("import_started", import_id=str(job.id), file=job.file_name, after=job.position)
    try:
        outcome = await _run(database, job, settings, clock)
    except LeaseLost:
        log.warning("import_taken_over", import_id=str(job.id))
        return True
    except asyncio.CancelledError:  # the process is told to stop: whoever comes next may go on at once
        with suppress(LeaseLost):
            async with database.transaction() as session:
                await _update(session, job, {"lease_until": clock()})
        raise
    await _finish(database, job, outcome, clock())
    path_of(settings, job.id).unlink(missing_ok=True)
    log.info("import_finished", import_id=str(job.id), problem=outcome.problem_code)
    return True


async def _claim(database: Database, now: datetime) -> ImportJob | None:
    free = or_(
        ImportJob.status == ImportStatus.QUEUED,
        (ImportJob.status == ImportStatus.RUNNING) & (ImportJob.lease_until < now),
    )
    async with database.reading() as session:
        oldest = select(ImportJob).where(free).order_by(ImportJob.created_at).limit(1)
        seen = (await session.scalars(oldest)).one_or_none()
    if seen is None:
        return None
    async with database.transaction() as session:
        claim = (
            update(ImportJob)
            .where(ImportJob.id == seen.id, ImportJob.attempt == seen.attempt, free)
            .values(
                status=ImportStatus.RUNNING,
                attempt=seen.attempt + 1,
                lease_until=now + LEASE,
                started_at=seen.started_at or now,
            )
            .returning(ImportJob)
        )
        return (await session.scalars(claim)).one_or_none()


async def _run(database: Database, job: ImportJob, settings: Settings, clock: Callable[[], datetime]) -> Outcome:
    async def keep(session: AsyncSession, told: list[RecordVerdict]) -> None:
        await _keep(session, job, told, clock())

    options = Options(job.source_name, job.overwrite, job.branch_id, settings.timezone)
    return await service.take_in(
        database,
        path_of(settings, job.id),
        name=job.file_name,
        options=options,
        clock=clock,
        keep=keep,
        record_format=Format(job.format) if job.format else None,
        after=job.position,
        is_dry=job.dry_run,
    )


async def _keep(session: AsyncSession, job: ImportJob, told: list[RecordVerdict], now: datetime) -> None:
    """Write what became of some records, and how far the job has come, in the transaction of those records."""
    columns = select(ImportJob.position, ImportJob.counts).where(ImportJob.id == job.id)
    position, before = (await session.execute(columns)).one()
    rows = [
        {"import_id": job.id, "position": item.position, "verdict": item.verdict, "told": item.model_dump(mode="json")}
        for item in told
    ]
    await session.execute(insert(ImportVerdict), rows)
    counts = Counter(before) + Counter(item.verdict.value for item in told)
    reached = max(position, *(item.position for item in told))
    await _update(session, job, {"position": reached, "counts": dict(counts), "lease_until": now + LEASE})


async def _finish(database: Database, job: ImportJob, outcome: Outcome, now: datetime) -> None:
    status = ImportStatus.FAILED if outcome.problem else ImportStatus.FINISHED
    values = {"status": status, "finished_at": now, "lease_until": None}
    values |= {"problem_code": outcome.problem_code, "problem_detail": outcome.problem}
    with suppress(LeaseLost):
        async with database.transaction() as session:
            await _update(session, job, values)


async def _update(session: AsyncSession, job: ImportJob, values: dict[str, Any]) -> None:
    """Change the job if it is still ours."""
    mine = update(ImportJob).where(ImportJob.id == job.id, ImportJob.attempt == job.attempt)
    changed = await session.execute(mine.values(**values))
    if isinstance(changed, CursorResult) and changed.rowcount == 0:
        raise LeaseLost
