"""`library job`: a job run by hand or by cron, and the table of all of them."""

import difflib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4
from zoneinfo import ZoneInfo

import typer

from app.commands import database as opened
from app.commands import tables
from app.core import job_runs
from app.core.config import load_settings
from app.core.db import Database
from app.core.errors import NotFound
from app.core.job_runs import JobRun
from app.core.schemas import JsonObject
from app.jobs import runner
from app.jobs.registry import JOBS, Job

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class NoSuchJob(NotFound):
    code, detail = "job_not_found", "There is no job '{name}'; {hint}"


@app.callback()
def job() -> None:
    """Run a job now, or see when each last ran and runs next."""


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `library job list`.", show_default=False)],
    *,
    as_json: JsonOption = False,
) -> None:
    """Run a job now, whether it is due or not.

    Harmless at any time: what another process is doing meanwhile is not done twice. Exits with 1 if the job could not
    do all its work; what it did stays done. For cron, and for a Kubernetes CronJob.

    \b
    Examples:
      library job run send_notices
      library job run purge_sessions --json
    """
    chosen = JOBS.get(name)
    if chosen is None:
        close = difflib.get_close_matches(name, JOBS, n=1)
        raise NoSuchJob(name=name, hint=f"did you mean '{close[0]}'?" if close else f"there are {', '.join(JOBS)}.")
    settings = load_settings()
    report = opened.run(settings, lambda database: runner.run(database, settings, chosen))
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False))
    else:
        typer.echo(f"{name}: {_counted(report.result)} ({report.duration_seconds:.1f} s)")
        if report.error:
            typer.echo(f"It did not do all its work: {report.error}.", err=True)
    if report.error:
        raise typer.Exit(1)


@app.command()
def note(
    name: Annotated[str, typer.Argument(metavar="NAME", help="backup, restore_test, …", show_default=False)],
    *,
    seconds: Annotated[float, typer.Option(min=0, metavar="N", help="How long it took.")],
    max_age_hours: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tell somebody if no later run succeeds.")
    ] = 25,
    error: Annotated[str, typer.Option(metavar="SENTENCE", help="Why it failed; without it, it succeeded.")] = "",
) -> None:
    """Note how a run of something outside the library ended: /metrics shows it, and somebody hears of a missed one.

    \b
    Examples:
      library job note backup --seconds 42
      library job note restore_test --seconds 60 --error "the hash differs" --max-age-hours 170
    """
    if name in JOBS:
        raise typer.BadParameter(f"{name} is a job of the library, which notes its own runs", param_hint="NAME")

    async def work(database: Database) -> None:
        async with database.transaction() as session:
            now, holder = await job_runs.clock(session), uuid4()
            await job_runs.start(session, name=name, holder=holder, now=now, max_age_seconds=max_age_hours * 3_600)
            await job_runs.finish(
                session, name=name, holder=holder, now=now, duration_seconds=seconds, result={}, error=error or None
            )

    opened.run(load_settings(), work)
    typer.echo(f"{name}: noted")


@app.command("list")
def list_(*, as_json: JsonOption = False) -> None:
    """List the jobs: when each is due, when it last succeeded, how long it took and what came of it.

    \b
    Examples:
      library job list
      library job list --json
    """
    settings = load_settings()

    async def work(database: Database) -> tuple[datetime, dict[str, JobRun]]:
        async with database.reading() as session:
            return await job_runs.clock(session), await job_runs.last_runs(session)

    now, last = opened.run(settings, work)
    zone = ZoneInfo(settings.timezone)
    listed = [_described(each, last.get(each.name), now=now, zone=zone) for each in JOBS.values()]
    if as_json:
        typer.echo(json.dumps(listed, ensure_ascii=False, indent=2))
        return
    rows = [
        (
            each["name"],
            each["schedule"],
            _shown(each["last_success_at"]),
            "" if each["duration_seconds"] is None else f"{each['duration_seconds']:.1f} s",
            each["last_error"] or ("" if each["last_success_at"] is None else _counted(each["result"])),
            "now" if each["is_running"] or each["next_due_at"] <= _stamp(now) else _shown(each["next_due_at"]),
        )
        for each in listed
    ]
    tables.show(("Job", "Schedule", "Last success", "Took", "Result", "Due"), rows)
    typer.echo("Times are UTC; schedules go by TIMEZONE.")


def _described(each: Job, last: JobRun | None, *, now: datetime, zone: ZoneInfo) -> JsonObject:
    return {
        "name": each.name,
        "summary": each.summary,
        "schedule": str(each.schedule),
        "last_started_at": _stamp(last.last_started_at if last else None),
        "last_finished_at": _stamp(last.last_finished_at if last else None),
        "last_success_at": _stamp(last.last_success_at if last else None),
        "duration_seconds": last.duration_seconds if last else None,
        "result": last.result if last else {},
        "last_error": last.last_error if last else None,
        "is_running": last is not None and last.is_held(now),
        "next_due_at": _stamp(runner.due_at(each, last, now=now, zone=zone)),
    }


def _stamp(instant: datetime | None) -> str | None:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if instant else None


def _shown(stamp: str | None) -> str:
    return stamp.replace("T", " ").rstrip("Z") if stamp else "never"


def _counted(result: JsonObject) -> str:
    counts = result.get("stock", result)
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing to do"
