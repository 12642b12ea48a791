"""Import: a catalogue file into the library, batch by batch, with a verdict for each record."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database
from app.core.errors import AppError
from app.imports import readers, writing
from app.imports.schemas import Format, Incoming, Options, Outcome, RecordVerdict, Unread, Verdict

log = structlog.get_logger()

PAUSES_SECONDS: Final = (0.5, 1, 2, 4, 8)

Record = Incoming | Unread
Report = Callable[[list[RecordVerdict], int], None]
Keep = Callable[[AsyncSession, list[RecordVerdict]], Awaitable[None]]


class _DryRun(Exception):  # no error: it undoes a transaction that was only meant to be looked at
    def __init__(self, verdicts: list[RecordVerdict]) -> None:
        super().__init__()
        self.verdicts = verdicts


async def take_in(
    database: Database,
    path: Path,
    *,
    options: Options,
    clock: Callable[[], datetime],
    name: str | None = None,
    report: Report = lambda _verdicts, _read_bytes: None,
    keep: Keep | None = None,
    record_format: Format | None = None,
    after: int = 0,
    is_dry: bool = False,
) -> Outcome:
    """Import the records of the file after position `after`; a file that can't be used at all has an outcome too.

    `name` is what problems call the file. `report` is told the verdicts of each batch and how many bytes of the file
    have been read.

    One transaction a batch: a kill loses at most the running one, and importing the file again completes it with the
    same result. `keep` runs inside it, so that what it writes is true; `report` after the commit. A dry run undoes
    every transaction. Another process reads, one batch ahead of writing; memory holds two batches.
    """
    outcome = Outcome()
    reading = readers.batches(
        path, name=name, record_format=record_format, source_name=options.source_name, after=after, clock=clock
    )
    async with aclosing(reading) as batches:
        async for batch in batches:
            for part in _without_repeats(batch.records):
                verdicts = await _write(database, part, options, clock(), keep=keep, is_dry=is_dry)
                outcome.counts.update(verdict.verdict for verdict in verdicts)
                report(verdicts, batch.read_bytes)
            outcome.problem, outcome.problem_code = batch.problem, batch.problem_code
    return outcome


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
    try:
        async with database.transaction() as session:
            verdicts = await writing.write(session, part, options=options, now=now)
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


async def _kept(database: Database, verdicts: list[RecordVerdict], keep: Keep | None) -> list[RecordVerdict]:
    if keep:
        async with database.transaction() as session:
            await keep(session, verdicts)
    return verdicts


def _refused(record: Record, error: Exception) -> RecordVerdict:
    reason = str(error) if isinstance(error, AppError) else "the database refused this record"
    return writing.verdict_of(record.position, Verdict.REJECTED, control_number=record.control_number, reason=reason)
