"""Import: a catalogue file into the library, batch by batch, with a verdict for each record."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import records as source_records
from app.books import service as books
from app.books.service import Prepared
from app.core.db import Database
from app.core.errors import AppError
from app.imports import writing
from app.imports.formats.reading import records
from app.imports.opening import Source, UnusableFile, opened
from app.imports.schemas import Format, Incoming, Options, Outcome, RecordVerdict, Unread, Verdict

log = structlog.get_logger()

BATCH_RECORDS: Final = 250
PAUSES_SECONDS: Final = (0.5, 1, 2, 4, 8)

Record = Incoming | Unread
Report = Callable[[list[RecordVerdict]], None]
Keep = Callable[[AsyncSession, list[RecordVerdict]], Awaitable[None]]


class _DryRun(Exception):  # no error: it undoes a transaction that was only meant to be looked at
    def __init__(self, verdicts: list[RecordVerdict]) -> None:
        super().__init__()
        self.verdicts = verdicts


async def take_in_file(
    database: Database,
    path: Path,
    *,
    options: Options,
    clock: Callable[[], datetime],
    report: Report = lambda _: None,
    record_format: Format | None = None,
    is_dry: bool = False,
) -> Outcome:
    """Import the file at `path`; one that can't be used at all has an outcome too, with nothing counted."""
    try:
        with opened(path) as source:
            return await take_in(
                database,
                source,
                options=options,
                clock=clock,
                report=report,
                record_format=record_format,
                is_dry=is_dry,
            )
    except UnusableFile as error:
        return Outcome(problem=str(error), problem_code=error.code)


async def take_in(
    database: Database,
    source: Source,
    *,
    options: Options,
    clock: Callable[[], datetime],
    report: Report = lambda _: None,
    keep: Keep | None = None,
    record_format: Format | None = None,
    after: int = 0,
    is_dry: bool = False,
) -> Outcome:
    """Import the records of the file after position `after`; `report` is told the verdicts of each batch.

    One transaction a batch: a kill loses at most the running one, and importing the file again completes it with the
    same result. `keep` runs inside it, so that what it writes is true; `report` after the commit. A dry run undoes
    every transaction. Reading runs in a thread, one batch ahead of writing; memory holds two batches.
    """
    outcome = Outcome()
    incoming = records(source, record_format=record_format, source_name=options.source_name, after=after)
    following = asyncio.create_task(asyncio.to_thread(_batch, incoming, outcome))
    try:
        while batch := await following:
            following = asyncio.create_task(asyncio.to_thread(_batch, incoming, outcome))
            for part in _without_repeats(batch):
                verdicts = await _write(database, part, options, clock(), keep=keep, is_dry=is_dry)
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


async def _write(
    database: Database, part: list[Record], options: Options, now: datetime, *, keep: Keep | None, is_dry: bool
) -> list[RecordVerdict]:
    """The part in one transaction; if the database refuses it, record by record, so that only the bad one falls."""
    try:
        return await _patiently(lambda: _try_to_write(database, part, options, now, keep=keep, is_dry=is_dry))
    except (DBAPIError, AppError) as error:
        if not _is_the_records_fault(error):
            raise
        if len(part) == 1:
            return await _kept(database, [_refused(part[0], error)], keep)
    told = [await _write(database, [record], options, now, keep=keep, is_dry=is_dry) for record in part]
    return [verdict for verdicts in told for verdict in verdicts]


async def _try_to_write(
    database: Database, part: list[Record], options: Options, now: datetime, *, keep: Keep | None, is_dry: bool
) -> list[RecordVerdict]:
    prepared = await _prepare(database, part, now)
    try:
        async with database.transaction() as session:
            verdicts = await writing.write(session, part, prepared=prepared, options=options, now=now)
            if is_dry:
                raise _DryRun(verdicts)  # noqa: TRY301  # caught here, outside the transaction that it undoes
            if keep:
                await keep(session, verdicts)
            return verdicts
    except _DryRun as tried:
        return await _kept(database, tried.verdicts, keep)


async def _patiently(work: Callable[[], Awaitable[list[RecordVerdict]]]) -> list[RecordVerdict]:
    """Do the work again after a while if the database was away or busy; doing it twice changes nothing more."""
    for pause_seconds in PAUSES_SECONDS:
        try:
            return await work()
        except (DBAPIError, PoolTimeoutError, OSError) as error:  # OSError: also a connection that is refused or slow
            if isinstance(error, DBAPIError) and _is_the_records_fault(error):
                raise
            log.warning("import_waits", reason=type(error).__name__, seconds=pause_seconds)
        await asyncio.sleep(pause_seconds)
    return await work()


def _is_the_records_fault(error: DBAPIError | AppError) -> bool:
    """Whether the database refused what the record says (SQLSTATE classes 22 and 23), rather than was unable."""
    if isinstance(error, AppError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    return str(state)[:2] in {"22", "23"} if state else isinstance(error, IntegrityError | DataError)


async def _prepare(database: Database, part: list[Record], now: datetime) -> dict[int, Prepared]:
    """Work out the new books of the part in a thread, while no transaction waits for it."""
    readable = [record for record in part if isinstance(record, Incoming) and not record.is_deleted]
    async with database.reading() as session:
        known = await source_records.known(session, [record.key for record in readable])
    new = [(record.position, record.book) for record in readable if record.key not in known and record.book]
    return await asyncio.to_thread(lambda: {position: books.prepare(book, now=now) for position, book in new})


async def _kept(database: Database, verdicts: list[RecordVerdict], keep: Keep | None) -> list[RecordVerdict]:
    if keep:
        async with database.transaction() as session:
            await keep(session, verdicts)
    return verdicts


def _refused(record: Record, error: Exception) -> RecordVerdict:
    reason = str(error) if isinstance(error, AppError) else "the database refused this record"
    return writing.verdict_of(record.position, Verdict.REJECTED, control_number=record.control_number, reason=reason)
