"""`library catalog`: what is done to the whole catalogue at once."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.commands import database as opened
from app.commands.reindex import BATCH
from app.commands.reindex import reindex as rebuild
from app.core.config import load_settings
from app.core.db import Database
from app.imports import opening
from app.imports import service as imports
from app.imports.schemas import Outcome, RecordVerdict, Verdict

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

SHOWN_REASONS = 20

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one line for each file, for programs.")]


@app.callback()
def catalog() -> None:
    """Take books in, rebuild what finds them."""


@app.command()
def reindex() -> None:
    """Rebuild the keys and words by which books are found.

    Needed only when a release's notes say so. The service may go on answering meanwhile: this works in batches of
    500 books, each a transaction of its own, and may be interrupted and run again.

    \b
    Example:
      library catalog reindex
    """
    batches = opened.run(load_settings(), rebuild)
    typer.echo(f"Rebuilt what finds the books, in {batches} batch{'' if batches == 1 else 'es'} of up to {BATCH}.")


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="MARC 21 files, plain or packed as .xz or .gz.")],
    source: Annotated[
        str, typer.Option(help="Whose records these are; without it, field 003 says so.", show_default=False)
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="Write every record's verdict to this file, as JSON lines.", show_default=False)
    ] = None,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take upstream's text also where a field was edited here.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take records in. A file taken in twice adds nothing; one interrupted is completed by taking it in again.

    \b
    Examples:
      library catalog import records.mrc
      library catalog import part1.mrc.xz part2.mrc.xz --source DLC --report verdicts.jsonl
    """
    options = imports.Options(source_name=source or None, overwrites=overwrite)

    async def work(database: Database) -> list[Outcome]:
        with ExitStack() as stack:
            write = stack.enter_context(_report_to(report)) if report else _nowhere
            return [await _import_file(database, path, options, write, as_json=as_json) for path in files]

    outcomes = opened.run(load_settings(), work)
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


async def _import_file(
    database: Database, path: Path, options: imports.Options, write: imports.Report, *, as_json: bool
) -> Outcome:
    """One file; a file that can't be used is told, and the next one is taken in all the same."""
    rejected: list[RecordVerdict] = []
    try:
        with opening.opened(path) as source, _progress(source, quiet=as_json) as advance:

            def report(verdicts: list[RecordVerdict]) -> None:
                write(verdicts)
                fallen = (verdict for verdict in verdicts if verdict.verdict is Verdict.REJECTED)
                rejected.extend(fallen if len(rejected) < SHOWN_REASONS else ())
                advance(len(verdicts))

            outcome = await imports.take_in(
                database, source, options=options, clock=lambda: datetime.now(UTC), report=report
            )
    except opening.UnusableFile as error:
        outcome = Outcome(problem=str(error), problem_code=error.code)
    _tell(path, outcome, rejected[:SHOWN_REASONS], as_json=as_json)
    return outcome


def _tell(path: Path, outcome: Outcome, rejected: list[RecordVerdict], *, as_json: bool) -> None:
    counts = {verdict.value: outcome.counts[verdict] for verdict in Verdict}
    if as_json:
        problem = {"code": outcome.problem_code, "detail": outcome.problem} if outcome.problem else None
        typer.echo(json.dumps({"file": str(path), "records": outcome.total, **counts, "problem": problem}))
        return
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    typer.echo(f"{path.name}: {outcome.total:,} records" + (f": {told}." if told else "."))
    for verdict in rejected:
        number = f" ({verdict.control_number})" if verdict.control_number else ""
        typer.echo(f"  record {verdict.position}{number} rejected: {verdict.reason}")
    if outcome.counts[Verdict.REJECTED] > len(rejected):
        typer.echo("  … and more; --report FILE writes them all.")
    if outcome.problem:
        typer.echo(outcome.problem, err=True)


@contextmanager
def _report_to(path: Path) -> Iterator[imports.Report]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda verdicts: file.writelines(f"{verdict.model_dump_json()}\n" for verdict in verdicts)


def _nowhere(verdicts: list[RecordVerdict]) -> None:
    del verdicts


@contextmanager
def _progress(source: opening.Source, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """On a terminal a bar with records, rate and time left; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,}/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(source.name, total=source.size_bytes, records=0, rate=0)
        records = 0

        def advance(count: int) -> None:
            nonlocal records
            records += count
            seconds = progress.tasks[0].elapsed or 1
            progress.update(task, completed=source.consumed_bytes, records=records, rate=round(records / seconds))

        yield advance
