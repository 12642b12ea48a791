"""The runs of jobs: when each last started, ended and succeeded, and who runs it now; any process can read them."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, String, Text, Uuid, and_, case, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Document, UtcDateTime
from app.core.functions import database_clock
from app.core.schemas import JsonObject

# A process that dies leaves its lease; so long nobody else runs the job.
LEASE: Final = timedelta(seconds=60)


class JobRun(Base):
    """The last run of one job. `totals` adds up the numbers of all results; `lease_until` is set while it runs.
    A last success older than `max_age_seconds` means that the job is missed.

    Whatever writes it (scheduler, cron, a backup script) needs no port of its own: the service exports the table.
    """

    __tablename__ = "job_runs"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_success_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_seconds: Mapped[float | None]
    result: Mapped[JsonObject] = mapped_column(Document)
    totals: Mapped[dict[str, int]] = mapped_column(Document)
    last_error: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_holder: Mapped[UUID | None] = mapped_column(Uuid)
    max_age_seconds: Mapped[int | None]

    def is_held(self, now: datetime) -> bool:
        """Whether somebody runs the job now, or did less than a lease ago."""
        return self.lease_until is not None and now < self.lease_until <= now + LEASE


async def clock(session: AsyncSession) -> datetime:
    """The one clock that leases and schedules go by."""
    return (await session.scalars(select(database_clock()))).one()


async def last_runs(session: AsyncSession) -> dict[str, JobRun]:
    return {run.name: run for run in await session.scalars(select(JobRun))}


async def start(session: AsyncSession, *, name: str, holder: UUID, now: datetime, max_age_seconds: int) -> None:
    """Note that a run begins, whoever else may be running the job."""
    await _start(session, name, holder, now, max_age_seconds, only_if=true())


async def claim(
    session: AsyncSession, *, name: str, seen: JobRun | None, holder: UUID, now: datetime, max_age_seconds: int
) -> bool:
    """Begin a run unless the job is being run now, or has begun or ended a run since it was `seen`.

    Of any number of callers that saw the same, one gets True. Who saw a run under way must not take it for
    interrupted when it has ended meanwhile: hence the end, too.
    """
    unchanged = and_(
        JobRun.last_started_at.is_not_distinct_from(seen.last_started_at if seen else None),
        JobRun.last_finished_at.is_not_distinct_from(seen.last_finished_at if seen else None),
    )
    is_free = or_(
        JobRun.lease_until.is_(None),
        JobRun.lease_until <= now,
        JobRun.lease_until > now + LEASE,  # left by a clock that was ahead
    )
    return await _start(session, name, holder, now, max_age_seconds, only_if=unchanged & is_free)


async def renew(session: AsyncSession, *, name: str, holder: UUID, now: datetime) -> None:
    """Show that the holder lives."""
    await session.execute(
        update(JobRun).where(JobRun.name == name, JobRun.lease_holder == holder).values(lease_until=now + LEASE)
    )


async def release(session: AsyncSession, *, name: str, holder: UUID) -> None:
    """Give the job back unfinished: it is due again at once."""
    await session.execute(
        update(JobRun).where(JobRun.name == name, JobRun.lease_holder == holder).values(lease_until=None)
    )


async def finish(
    session: AsyncSession,
    *,
    name: str,
    holder: UUID,
    now: datetime,
    duration_seconds: float,
    result: JsonObject,
    error: str | None,
) -> None:
    """Note how a run ended. One that took longer than its lease and was begun anew meanwhile still counts."""
    run = (await session.scalars(select(JobRun).where(JobRun.name == name).with_for_update())).one()
    added = {key: run.totals.get(key, 0) + value for key, value in result.items() if isinstance(value, int)}
    values: dict[str, object] = {
        "last_finished_at": now,
        "duration_seconds": duration_seconds,
        "result": result,
        "totals": run.totals | added,
        "last_error": error,
        "lease_until": case((JobRun.lease_holder == holder, None), else_=JobRun.lease_until),
    }
    if error is None:
        values["last_success_at"] = now
    await session.execute(update(JobRun).where(JobRun.name == name).values(**values))


async def _start(
    session: AsyncSession,
    name: str,
    holder: UUID,
    now: datetime,
    max_age_seconds: int,
    *,
    only_if: ColumnElement[bool],
) -> bool:
    running = {
        "last_started_at": now,
        "lease_until": now + LEASE,
        "lease_holder": holder,
        "max_age_seconds": max_age_seconds,
    }
    statement = (
        # The dialects spell this clause the same; only SQLAlchemy keeps it in two places.
        insert(JobRun)
        .values(name=name, result={}, totals={}, **running)
        .on_conflict_do_update(index_elements=[JobRun.name], set_=running, where=only_if)
        .returning(JobRun.name)
    )
    return await session.scalar(statement) is not None
