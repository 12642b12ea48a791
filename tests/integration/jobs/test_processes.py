"""Jobs as operators run them: `library job`, schedulers of their own, and inside `library serve`."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from app.core import job_runs
from app.core.config import Settings
from app.core.db import Database
from app.core.job_runs import JobRun
from app.jobs import runner
from app.jobs.registry import JOBS
from app.notifications.models import Kind
from tests.integration.commands.command_line import CommandLine
from tests.integration.notifications.outbox import add_notices, add_reader, states
from tests.mailserver import MailServer, mail_server, sending_to
from tests.servers import free_port

pytestmark = pytest.mark.anyio


@contextmanager
def running(settings: Settings, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = CommandLine.of(settings).start(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def until(condition: Callable[[], bool], *, seconds: int = 30) -> None:
    for _ in range(seconds * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 30)
    return process.returncode


async def library_run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(CommandLine.of(settings).run, *arguments)


async def test_a_job_runs_by_hand_and_says_what_it_did(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 3, kind=Kind.BOOKING_EXPIRED)
    with mail_server() as server:
        reached = sending_to(settings, server.port)
        told = await library_run(reached, "job", "run", "send_notices")
        assert (told.returncode, told.stdout.partition(" (")[0]) == (0, "send_notices: booking_expired sent 3")
        again = await library_run(reached, "job", "run", "send_notices", "--json")
        report = json.loads(again.stdout)
        assert (report["job"], report["result"], report["error"]) == ("send_notices", {}, None)
    failed = await library_run(sending_to(settings, free_port()), "job", "run", "purge_sessions")
    assert failed.returncode == 0, "it needs no mail server"


async def test_a_job_that_could_not_do_its_work_exits_with_1(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 1, kind=Kind.BOOKING_EXPIRED)
    unreachable = sending_to(settings, free_port())
    failed = await library_run(unreachable, "job", "run", "send_notices", "--json")
    assert failed.returncode == 1
    assert "mail server can't be used" in json.loads(failed.stdout)["error"]
    listed = json.loads((await library_run(unreachable, "job", "list", "--json")).stdout)
    [entry] = [each for each in listed if each["name"] == "send_notices"]
    assert (entry["last_success_at"], entry["is_running"]) == (None, False)
    assert "mail server can't be used" in entry["last_error"]


async def test_an_unknown_job_is_not_run_and_the_close_one_named(settings: Settings) -> None:
    refused = await library_run(settings, "job", "run", "send_notice")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "There is no job 'send_notice'; did you mean 'send_notices'?\n"


async def test_the_list_shows_every_job_and_when_it_ran(settings: Settings, database: Database) -> None:
    fresh = (await library_run(settings, "job", "list")).stdout
    assert fresh.count("never") == len(JOBS)
    for job in JOBS.values():
        await runner.run(database, settings, job)
    lines = (await library_run(settings, "job", "list")).stdout.splitlines()
    assert lines[0].split() == ["Job", "Schedule", "Last", "success", "Took", "Result", "Due"]
    assert [line.split()[0] for line in lines[1:-1]] == list(JOBS)
    assert all(str(job.schedule) in line for job, line in zip(JOBS.values(), lines[1:-1], strict=True))
    [purged] = [line for line in lines if line.startswith("purge_sessions ")]
    assert "deleted 0" in purged
    listed = json.loads((await library_run(settings, "job", "list", "--json")).stdout)
    [entry] = [each for each in listed if each["name"] == "purge_sessions"]
    now = datetime.now(UTC)
    assert now < datetime.fromisoformat(entry["next_due_at"]) <= now + timedelta(days=1)


async def test_two_schedulers_send_a_notice_once_and_stop_when_told(settings: Settings, database: Database) -> None:
    with mail_server() as server:
        reached = sending_to(settings, server.port)
        # A run by a clock that was a year ahead, and was put right.
        await runner.run(database, reached, JOBS["send_notices"])
        in_a_year = datetime.now(UTC) + timedelta(days=365)
        async with database.transaction() as session:
            await session.execute(
                update(JobRun).values(last_started_at=in_a_year, last_finished_at=in_a_year, lease_until=in_a_year)
            )
        await add_notices(database, await add_reader(database), 20, kind=Kind.BOOKING_EXPIRED)
        with ExitStack() as stack:
            schedulers = [stack.enter_context(running(reached, "scheduler")) for _ in range(2)]
            await until(lambda: len(server.letters) >= 20)
            assert await asyncio.gather(*(stop(each) for each in schedulers)) == [0, 0]
        assert len(server.letters) == len(set(server.identities())) == 20
    async with database.reading() as session:
        last = await job_runs.last_runs(session)
    assert last["send_notices"].totals == {"booking_expired sent": 20}
    assert last.keys() == JOBS.keys()
    assert all(run.lease_until is None and run.last_error is None for run in last.values())


async def test_another_scheduler_takes_over_from_a_killed_one(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 10, kind=Kind.BOOKING_EXPIRED)
    with mail_server() as server:
        reached = sending_to(settings, server.port)
        with running(reached, "scheduler") as process:
            kill_at(server, 4, process)
            await asyncio.to_thread(process.wait, 30)
        assert process.returncode == -signal.SIGKILL
        async with database.transaction() as session:
            run = (await job_runs.last_runs(session))["send_notices"]
            assert run.lease_until is not None
            # The minute that its lease would still last.
            await session.execute(update(JobRun).values(lease_until=datetime.now(UTC)))
        with running(reached, "scheduler") as process:
            await until(lambda: len(set(server.identities())) == 10)
            assert await stop(process) == 0
    assert await states(database) == {"sent": 9, "pending": 1}, "the one in flight waits for its pause"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_service_runs_the_jobs_itself_and_exports_them(
    settings: Settings, database: Database, workers: str
) -> None:
    await add_notices(database, await add_reader(database), 5, kind=Kind.BOOKING_EXPIRED)
    with (
        mail_server() as server,
        CommandLine.of(sending_to(settings, server.port)).serving("--workers", workers) as service,
    ):
        found: dict[tuple[str, ...], float] = {}
        async with asyncio.timeout(20):
            while ("notices_sent_total", "booking_expired", "sent") not in found:
                await asyncio.sleep(0.1)
                found = samples((await asyncio.to_thread(service.get, "/metrics")).text)
        assert await stop(service.process) == 0
    assert len(server.letters) == 5
    assert found["notices_sent_total", "booking_expired", "sent"] == 5
    assert abs(found["job_last_success_timestamp_seconds", "send_notices"] - datetime.now(UTC).timestamp()) < 60
    assert 0 <= found["job_duration_seconds", "send_notices"] < 20


async def test_a_service_with_the_scheduler_off_runs_no_job(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 1, kind=Kind.BOOKING_EXPIRED)
    with CommandLine.of(settings.model_copy(update={"scheduler_enabled": False})).serving() as service:
        await asyncio.sleep(1)
        assert await stop(service.process) == 0
    async with database.reading() as session:
        assert await job_runs.last_runs(session) == {}
    assert await states(database) == {"pending": 1}


def kill_at(server: MailServer, number: int, process: subprocess.Popen[str]) -> None:
    def answer(_letter: object) -> str:
        if len(server.letters) == number:
            process.kill()
            process.wait()
        return "250 OK"

    server.on_letter = answer


def samples(text: str) -> dict[tuple[str, ...], float]:
    """The values by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
