"""`library catalog`: what is done to the whole catalogue at once."""

import gc
import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.commands import database as opened
from app.commands import takings
from app.commands.reindex import BATCH
from app.commands.reindex import reindex as rebuild
from app.core.config import load_settings
from app.core.db import Database
from app.imports import exporting
from app.imports import service as imports
from app.imports.schemas import Format, Options, Outcome

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Found from the file unless said.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one line for each file, for programs.")]
ReportOption = Annotated[
    Path | None, typer.Option(help="Write every record's verdict to this file, as JSON lines.", show_default=False)
]


@app.callback()
def catalog() -> None:
    """Take books in, give them out, rebuild what finds them."""


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
    files: Annotated[
        list[Path], typer.Argument(help="MARC 21, MARCXML, CSV or JSON lines, plain or packed as .xz or .gz.")
    ],
    record_format: FormatOption = None,
    source: Annotated[
        str, typer.Option(help="Whose records these are; without it, the records say so.", show_default=False)
    ] = "",
    branch: Annotated[
        str, typer.Option(help="Where copies go that name no branch; without it, the oldest.", show_default=False)
    ] = "",
    report: ReportOption = None,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take upstream's text also where a field was edited here.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; tell what would change.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take records in.

    A file taken in twice adds nothing; one interrupted is completed by taking it in again. One bad record never ends
    the file: it is told, and the next one is read. The service may go on answering meanwhile.

    \b
    Examples:
      library catalog import records.mrc
      library catalog import part1.mrc.xz part2.mrc.xz --source DLC --report verdicts.jsonl
      library catalog import changes.csv --dry-run
    """
    settings = load_settings()
    options = Options(source or None, overwrite, branch or None, settings.timezone)

    async def work(database: Database) -> list[Outcome]:
        with ExitStack() as stack:
            write = stack.enter_context(takings.report_to(report)) if report else None
            tellings = (takings.Telling(path, write=write, as_json=as_json, is_dry=dry_run) for path in files)
            return [await _take_in(database, telling, options, record_format) for telling in tellings]

    gc.freeze()  # what is loaded stays; looking through it again and again took a sixth of the time
    if any(outcome.problem for outcome in opened.run(settings, work)):
        raise typer.Exit(1)


async def _take_in(
    database: Database, telling: takings.Telling, options: Options, record_format: Format | None
) -> Outcome:
    with telling.progress():
        outcome = await imports.take_in(
            database,
            telling.path,
            options=options,
            clock=lambda: datetime.now(UTC),
            report=telling.report,
            record_format=record_format,
            is_dry=telling.is_dry,
        )
    telling.conclude(outcome)
    return outcome


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="Without it, to standard output.", show_default=False)] = None,
    record_format: Annotated[
        Format, typer.Option("--format", help="Any of the formats that import reads.")
    ] = Format.MARC,
    *,
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="CSV for people: no cell is taken for a formula; no longer exact.")
    ] = False,
) -> None:
    """Give every book out with its copies, so that importing it elsewhere gives the same library.

    \b
    Examples:
      library catalog export catalogue.mrc
      library catalog export --format csv --spreadsheet books.csv
      library catalog export --format jsonl | gzip > books.jsonl.gz
    """
    skipped: list[int] = []

    def skip(book_id: int, reason: str) -> None:
        skipped.append(book_id)
        typer.echo(f"Book {book_id} is left out: {reason}.", err=True)

    async def work(database: Database) -> None:
        # Complete or not there: a file with the name that was asked for is never a half one.
        partial = file.with_name(f".{file.name}.part") if file else None
        with partial.open("wb") if partial else os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
            async for piece in exporting.export(database, record_format, for_spreadsheet=spreadsheet, skip=skip):
                out.write(piece)
        if partial and file:
            partial.replace(file)

    opened.run(load_settings(), work)
    if skipped:
        raise typer.Exit(1)
