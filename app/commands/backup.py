"""`library backup`: backups made, listed, tried out and kept by the clock, of either database."""

import asyncio
import json
import signal
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import structlog
import typer

from app.commands import database as opened
from app.commands import tables
from app.commands.backups import jobs, restoring
from app.commands.backups.kept import Backup
from app.core.config import load_settings
from app.core.db import Database
from app.core.errors import Unavailable
from app.jobs import runner
from app.jobs import scheduler as schedulers
from app.jobs.registry import Job

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

log = structlog.get_logger()

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class BackupsUnwell(Unavailable):
    code, detail = "backups_unwell", "{reason}."


@app.callback()
def backup() -> None:
    """Make backups of the library, list them, and try whether they can be restored.

    With PostgreSQL this runs where pgBackRest and the cluster's folder are: in Compose, in the container `backup`.
    """


@app.command()
def run(
    *,
    full: Annotated[bool, typer.Option("--full", help="A full one, whatever there is already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a backup now. It is noted where /metrics shows it, as a run of the job `backup`.

    \b
    Examples:
      library backup run
      library backup run --full
    """
    _run(jobs.FULL if full else jobs.JOBS["backup"], as_json=as_json)


@app.command("test")
def try_out(*, as_json: JsonOption = False) -> None:
    """Restore the newest backup into a place of its own, compare every table, check the rules, and remove it again.

    With PostgreSQL to a moment between the backup and now, of those that were marked by the clock. It is noted as a
    run of the job `restore_test`.

    \b
    Examples:
      library backup test
    """
    _run(jobs.JOBS["restore_test"], as_json=as_json)


@app.command()
def mark(*, as_json: JsonOption = False) -> None:
    """Mark this moment and sum up all tables, so that `library backup test` can restore to it and compare.

    \b
    Examples:
      library backup mark
    """
    _run(jobs.JOBS["mark_moment"], as_json=as_json)


@app.command("list")
def list_(*, as_json: JsonOption = False) -> None:
    """List the backups that are kept.

    \b
    Examples:
      library backup list
    """
    settings = load_settings()
    kept = asyncio.run(restoring.engine(settings).kept())
    if as_json:
        typer.echo(json.dumps([asdict(each) | {"finished_at": _stamp(each.finished_at)} for each in kept], indent=2))
        return
    rows = [
        (each.label, each.kind, _stamp(each.finished_at), _size(each.size_bytes), _size(each.stored_bytes))
        for each in kept
    ]
    tables.show(("Backup", "Kind", "Finished", "Database", "Stored"), rows)


@app.command()
def check() -> None:
    """Say whether the backups are well: the newest is young enough, and what happened since is being kept.

    Ends with 1 if not; for health checks.

    \b
    Examples:
      library backup check
    """
    settings = load_settings()

    async def work(database: Database) -> tuple[list[Backup], str | None]:
        del database
        engine = restoring.engine(settings)
        return await engine.kept(), await engine.complaint()

    kept, complaint = opened.run(settings, work)
    if not kept:
        raise BackupsUnwell(reason="There is no backup yet")
    age = datetime.now(UTC) - kept[-1].finished_at
    if age > jobs.MAX_AGE:
        raise BackupsUnwell(reason=f"The newest backup is {age.total_seconds() / 3_600:.0f} hours old")
    if complaint:
        raise BackupsUnwell(reason=complaint.capitalize())
    typer.echo(f"{len(kept)} backups, the newest of {_stamp(kept[-1].finished_at)}")


@app.command()
def schedule() -> None:
    """Make backups, try them out and write desk lists when they are due, until told to stop.

    \b
    Examples:
      library backup schedule
    """
    settings = load_settings()
    restoring.engine(settings)  # says what is missing before anything is due

    async def work(database: Database) -> None:
        stop = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        log.info("keeping_backups", jobs=list(jobs.JOBS))
        patience = settings.graceful_timeout
        await schedulers.keep(database, settings, stop=stop, patience_seconds=patience, jobs=jobs.JOBS.values())
        log.info("stopped")

    opened.run(settings, work, is_patient=True)


def _run(job: Job, *, as_json: bool) -> None:
    settings = load_settings()
    report = opened.run(settings, lambda database: runner.run(database, settings, job))
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False))
    elif not report.error:
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.result.items())
        typer.echo(f"{job.name}: {told or 'nothing to do'} ({report.duration_seconds:.1f} s)")
    if report.error:
        raise BackupsUnwell(reason=report.error.rstrip("."))


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:,.1f} MB"
