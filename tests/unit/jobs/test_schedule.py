"""When jobs are due: after downtime, failures, kills, clocks set wrong and clocks put forward."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.core.config import Settings
from app.core.db import Database
from app.core.job_runs import JobRun
from app.core.schemas import JsonObject
from app.jobs.registry import Job
from app.jobs.runner import due_at
from app.jobs.schedule import Daily, Every, Schedule

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)


async def nothing(database: Database, settings: Settings, now: datetime) -> JsonObject:
    return {}


def due(
    schedule: Schedule, started: datetime, *, took: timedelta | None = MINUTE, error: str | None = None
) -> datetime:
    finished = None if took is None else started + took
    last = JobRun(name="job", last_started_at=started, last_finished_at=finished, last_error=error)
    return due_at(Job("job", schedule, nothing, "Does nothing."), last, now=NOW, zone=BERLIN)


def test_a_job_that_never_ran_is_due_at_once() -> None:
    assert due_at(Job("job", Daily(time(3)), nothing, "Does nothing."), None, now=NOW, zone=BERLIN) == NOW


def test_an_interval_counts_from_the_last_start() -> None:
    assert due(Every(600), NOW - 2 * MINUTE) == NOW + 8 * MINUTE


def test_many_missed_runs_make_one_late_run() -> None:
    late = due(Daily(time(3)), NOW - timedelta(days=30))
    assert late < NOW
    assert due(Daily(time(3)), NOW) == datetime(2026, 11, 25, 2, tzinfo=UTC)


def test_a_run_that_never_ended_is_due_again() -> None:
    assert due(Daily(time(3)), NOW - MINUTE, took=None) == NOW
    assert due(Daily(time(3)), NOW - MINUTE, took=-timedelta(days=1)) == NOW


def test_a_job_that_runs_is_not_due_before_its_lease_ends() -> None:
    last = JobRun(name="job", last_started_at=NOW - MINUTE, lease_until=NOW + MINUTE / 2)
    job = Job("job", Every(30), nothing, "Does nothing.")
    assert due_at(job, last, now=NOW, zone=BERLIN) == NOW + MINUTE / 2
    assert due_at(job, last, now=NOW + MINUTE, zone=BERLIN) == NOW + MINUTE


def test_a_start_in_the_future_counts_as_none() -> None:
    assert due(Every(600), NOW + timedelta(days=400)) == NOW


def test_a_failed_job_is_tried_again_soon() -> None:
    assert due(Daily(time(3)), NOW - 2 * MINUTE, error="lost") == NOW + 4 * MINUTE
    assert due(Every(30), NOW, error="lost") == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        # The clocks of Berlin go from 2:00 to 3:00 on 29 March 2026, and from 3:00 back to 2:00 on 25 October.
        ("2026-03-28T12:00", "2026-03-29T01:30"),
        ("2026-03-29T01:30", "2026-03-30T00:30"),
        ("2026-10-24T12:00", "2026-10-25T00:30"),
        ("2026-10-25T00:30", "2026-10-26T01:30"),
        ("2026-10-25T01:30", "2026-10-26T01:30"),
    ],
)
def test_a_daily_job_runs_once_on_days_that_change_the_clocks(after: str, expected: str) -> None:
    moment, due_then = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (after, expected))
    assert Daily(time(2, 30)).after(moment, BERLIN) == due_then


def test_schedules_read_as_people_say_them() -> None:
    assert [str(each) for each in (Every(30), Every(300), Every(90), Daily(time(3, 5)))] == [
        "every 30 s",
        "every 5 min",
        "every 90 s",
        "daily at 03:05",
    ]
