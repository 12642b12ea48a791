"""Runs: of any number of schedulers one runs what is due, once, and what breaks off is taken up again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from app.auth.models import Session
from app.auth.service import sessions as auth
from app.core import job_runs
from app.core.config import Settings
from app.core.db import Database
from app.core.job_runs import LEASE, JobRun
from app.core.schemas import JsonObject
from app.core.security import TokenSigner
from app.jobs import runner, scheduler, sessions
from app.jobs.failures import JobFailed
from app.jobs.registry import Job, Work
from app.jobs.schedule import Every
from app.users.models import User
from tests.integration.notifications.outbox import add_reader

pytestmark = pytest.mark.anyio

HOUR = Every(3600)


def counting(calls: list[datetime], *, seconds: float = 0) -> Work:
    async def work(database: Database, settings: Settings, now: datetime) -> JsonObject:
        calls.append(now)
        await asyncio.sleep(seconds)
        return {"counted": 1}

    return work


@asynccontextmanager
async def processes(settings: Settings, count: int) -> AsyncIterator[list[Database]]:
    """Connections as so many processes would have them."""
    async with AsyncExitStack() as stack:
        opened = [Database(settings) for _ in range(count)]
        for each in opened:
            stack.push_async_callback(each.close)
        yield opened


async def keep_for(databases: Sequence[Database], settings: Settings, job: Job, seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await asyncio.gather(
        *(
            scheduler.keep(each, settings, stop=stop, patience_seconds=5, jobs=[job], tick_seconds=0.1)
            for each in databases
        )
    )


async def last_run(database: Database, name: str = "job") -> JobRun:
    async with database.reading() as session:
        return (await job_runs.last_runs(session))[name]


async def plant(database: Database, **values: object) -> None:
    async with database.transaction() as session:
        await session.execute(update(JobRun).values(**values))


async def test_four_schedulers_run_what_is_due_once(settings: Settings, database: Database) -> None:
    calls: list[datetime] = []
    job = Job("job", HOUR, counting(calls, seconds=0.3), "Counts.")
    async with processes(settings, 4) as databases:
        await keep_for(databases, settings, job, 1)
        assert len(calls) == 1
        run = await last_run(database)
        assert (run.result, run.totals, run.last_error, run.lease_until) == ({"counted": 1}, {"counted": 1}, None, None)

        three_days_ago = datetime.now(UTC) - timedelta(days=3)
        await plant(database, last_started_at=three_days_ago, last_finished_at=three_days_ago)
        await keep_for(databases, settings, job, 1)
        assert len(calls) == 2, "seventy missed runs are one"
    assert (await last_run(database)).totals == {"counted": 2}


async def test_of_ten_claims_that_saw_the_same_one_succeeds(database: Database) -> None:
    async def claim(seen: JobRun | None) -> bool:
        async with database.transaction() as session:
            now = await job_runs.clock(session)
            return await job_runs.claim(session, name="job", seen=seen, holder=uuid4(), now=now, max_age_seconds=60)

    assert sorted(await asyncio.gather(*(claim(None) for _ in range(10)))) == [False] * 9 + [True]
    seen = await last_run(database)
    assert not await claim(seen), "somebody holds the lease"
    await plant(database, lease_until=None, last_finished_at=datetime.now(UTC))
    assert not await claim(seen), "the run that it saw has ended: nothing was interrupted"
    seen = await last_run(database)
    assert sorted(await asyncio.gather(*(claim(seen) for _ in range(10)))) == [False] * 9 + [True]


async def test_a_clock_that_was_ahead_stops_nothing(settings: Settings, database: Database) -> None:
    calls: list[datetime] = []
    job = Job("job", HOUR, counting(calls), "Counts.")
    await runner.run(database, settings, job)
    in_a_year = datetime.now(UTC) + timedelta(days=365)
    await plant(database, last_started_at=in_a_year, last_finished_at=in_a_year, lease_until=in_a_year)
    await keep_for([database], settings, job, 0.5)
    assert len(calls) == 2
    assert (await last_run(database)).last_started_at < in_a_year


async def test_what_a_killed_process_left_is_taken_up_when_its_lease_is_over(
    settings: Settings, database: Database
) -> None:
    calls: list[datetime] = []
    job = Job("job", HOUR, counting(calls), "Counts.")
    async with database.transaction() as session:
        now = await job_runs.clock(session)
        await job_runs.start(session, name="job", holder=uuid4(), now=now, max_age_seconds=60)
    await keep_for([database], settings, job, 0.5)
    assert calls == [], "its holder may still live"
    await plant(database, lease_until=datetime.now(UTC) - timedelta(seconds=1))
    await keep_for([database], settings, job, 0.5)
    assert len(calls) == 1


async def test_a_long_run_keeps_its_lease(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 0.1)
    task = asyncio.create_task(runner.run(database, settings, Job("job", HOUR, counting([], seconds=1), "Counts.")))
    await asyncio.sleep(0.5)
    first = (await last_run(database)).lease_until
    await asyncio.sleep(0.3)
    second = (await last_run(database)).lease_until
    await task
    assert first is not None
    assert second is not None
    assert datetime.now(UTC) < first < second < datetime.now(UTC) + LEASE


async def test_a_job_that_is_stopped_is_due_again_at_once(settings: Settings, database: Database) -> None:
    calls: list[datetime] = []
    stuck = Job("job", HOUR, counting(calls, seconds=60), "Never ends.")
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, stop.set)
    await scheduler.keep(database, settings, stop=stop, patience_seconds=0.2, jobs=[stuck], tick_seconds=0.1)
    assert len(calls) == 1
    run = await last_run(database)
    assert (run.lease_until, run.last_finished_at) == (None, None)
    await keep_for([database], settings, Job("job", HOUR, counting(calls), "Counts."), 0.5)
    assert len(calls) == 2


async def test_a_stopping_scheduler_lets_a_job_finish(settings: Settings, database: Database) -> None:
    calls: list[datetime] = []
    await keep_for([database], settings, Job("job", HOUR, counting(calls, seconds=1), "Counts."), 0.3)
    assert (await last_run(database)).result == {"counted": 1}


async def test_a_failing_job_is_noted_and_hinders_no_other(settings: Settings, database: Database) -> None:
    async def fail(database: Database, settings: Settings, now: datetime) -> JsonObject:
        raise ValueError("what happened\nand the parameters: canary@library.test")

    async def stop_half_way(database: Database, settings: Settings, now: datetime) -> JsonObject:
        raise JobFailed("the mail server is asleep", result={"sent": 3})

    async def hang(database: Database, settings: Settings, now: datetime) -> JsonObject:
        await asyncio.sleep(60)
        return {}

    calls: list[datetime] = []
    jobs = [
        Job("fails", HOUR, fail, "Fails."),
        Job("stops", HOUR, stop_half_way, "Stops."),
        Job("hangs", HOUR, hang, "Hangs.", max_seconds=0),
        Job("counts", HOUR, counting(calls), "Counts."),
    ]
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1.5, stop.set)
    await scheduler.keep(database, settings, stop=stop, patience_seconds=5, jobs=jobs, tick_seconds=0.1)
    assert len(calls) == 1
    runs = {name: await last_run(database, name) for name in ("fails", "stops", "hangs", "counts")}
    assert {name: run.last_error for name, run in runs.items()} == {
        "fails": "ValueError: what happened",
        "stops": "the mail server is asleep",
        "hangs": "took too long and was stopped",
        "counts": None,
    }
    assert runs["stops"].totals == {"sent": 3}
    assert all((run.last_success_at is None) is (name != "counts") for name, run in runs.items())


async def test_a_scheduler_waits_for_a_database_that_is_not_migrated(settings: Settings, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(select(1))
        connection = await session.connection()
        await connection.exec_driver_sql("ALTER TABLE job_runs RENAME TO hidden")
    calls: list[datetime] = []
    job = Job("job", HOUR, counting(calls), "Counts.")
    waiting = asyncio.create_task(keep_for([database], settings, job, 2))
    await asyncio.sleep(0.5)
    assert calls == []
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("ALTER TABLE hidden RENAME TO job_runs")
    await waiting
    assert len(calls) == 1


async def test_four_purges_at_once_delete_every_expired_session_once(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "BATCH", 40)
    now = datetime.now(UTC)
    reader_id = await add_reader(database)
    async with database.transaction() as session:
        reader = await session.get_one(User, reader_id)
        for number in range(250):
            await auth.open_session(
                session,
                user=reader,
                signer=TokenSigner(settings),
                life=timedelta(hours=1 if number < 25 else -1),
                now=now,
            )
    async with processes(settings, 4) as databases:
        results = await asyncio.gather(*(sessions.purge(each, settings, now) for each in databases))
    assert sum(result["deleted"] for result in results) == 225
    async with database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(Session)) == 25
