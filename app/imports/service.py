"""Import: a catalogue file into the library, batch by batch, with a verdict for each record."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError

from app.core.db import Database
from app.core.errors import AppError
from app.imports import writing
from app.imports.opening import Source, UnusableFile, opened
from app.imports.reading import records
from app.imports.schemas import Incoming, Outcome, RecordVerdict, Unread, Verdict

BATCH_RECORDS: Final = 500

Record = Incoming | Unread
Report = Callable[[list[RecordVerdict]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How to import: under which source's name, and whether upstream wins over edits made here."""

    source_name: str | None = None
    overwrites: bool = False


async def take_in_file(
    database: Database, path: Path, *, options: Options, clock: Callable[[], datetime], report: Report = lambda _: None
) -> Outcome:
    """Import the file at `path`; one that can't be used at all has an outcome too, with nothing counted."""
    try:
        with opened(path) as source:
            return await take_in(database, source, options=options, clock=clock, report=report)
    except UnusableFile as error:
        return Outcome(problem=str(error), problem_code=error.code)


async def take_in(
    database: Database,
    source: Source,
    *,
    options: Options,
    clock: Callable[[], datetime],
    report: Report = lambda _: None,
) -> Outcome:
    """Import every record of the file; `report` is told the verdicts of each batch after its commit.

    One transaction a batch: a kill loses at most the running one, and importing the file again completes it with the
    same result. Reading runs in a thread, one batch ahead of writing; memory holds two batches.
    """
    outcome = Outcome()
    incoming = records(source, source_name=options.source_name)
    following = asyncio.create_task(asyncio.to_thread(_batch, incoming, outcome))
    try:
        while batch := await following:
            following = asyncio.create_task(asyncio.to_thread(_batch, incoming, outcome))
            for part in _without_repeats(batch):
                verdicts = await _write(database, part, options, clock())
                outcome.counts.update(verdict.verdict for verdict in verdicts)
                report(verdicts)
    finally:
        await asyncio.gather(following, return_exceptions=True)
    return outcome


def _batch(incoming: Iterator[Record], outcome: Outcome) -> list[Record]:
    """The next records; a file that can't be read on is noted, and what was read before it still counts."""
    batch: list[Record] = []
    try:
        batch.extend(islice(incoming, BATCH_RECORDS))
    except UnusableFile as error:
        outcome.problem, outcome.problem_code = str(error), error.code
    return batch


def _without_repeats(batch: list[Record]) -> Iterator[list[Record]]:
    """Parts in which no key stands twice, so that a repeated record is judged after its first appearance."""
    part: list[Record] = []
    keys: set[tuple[str, str]] = set()
    for record in batch:
        if isinstance(record, Incoming):
            if record.key in keys:
                yield part
                part, keys = [], set()
            keys.add(record.key)
        part.append(record)
    if part:
        yield part


async def _write(database: Database, part: list[Record], options: Options, now: datetime) -> list[RecordVerdict]:
    """The part in one transaction; if the database refuses it, record by record, so that only the bad one falls."""
    try:
        async with database.transaction() as session:
            return await writing.write(session, part, overwrites=options.overwrites, now=now)
    except (DBAPIError, AppError) as error:
        if len(part) == 1:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            return [_refused(part[0], error)]
    return [verdict for record in part for verdict in await _write(database, [record], options, now)]


def _refused(record: Record, error: Exception) -> RecordVerdict:
    reason = str(error) if isinstance(error, AppError) else "the database refused this record"
    number = record.control_number
    return writing.verdict_of(record.position, Verdict.REJECTED, control_number=number, reason=reason)
