"""Restoring: always beside the real database first, where it is checked and erased readers are erased again.

1. Whoever has the database open is in the way.
2. The backup is fetched, which proves every byte of it, and played forward to the moment asked for.
3. The schema is brought to this release's, the erasure ledger is replayed, invariants are looked at, rows counted.
4. Only then one rename puts it into the real one's place. Until there nothing was touched.

The restore test is 2 and 3 in a place of its own, and compares every table with what was summed up at that moment.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import update

from app.commands.backups.kept import BackupDamaged, Engine, Moment, NoBackup, RestoreFailed, Scratch, Tables
from app.commands.backups.place import Place
from app.commands.backups.postgres import Postgres
from app.commands.backups.sqlite import Sqlite
from app.core import migrations
from app.core.config import Settings
from app.core.db import WHOLE_LIBRARY_SECONDS, Database, Generation
from app.core.revision import is_pending
from app.erasure import service as erasure
from app.loans import invariants
from app.policies import service as policies


class InvariantsBroken(RestoreFailed):
    code, detail = (
        "invariants_broken",
        "What the backup holds breaks the library's rules: {rules}. The database is as it was; --force takes it so.",
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What was restored. `former` is where the database that was there before is now, if it was replaced."""

    backup: str
    size_bytes: int
    reached_at: datetime | None
    seconds: float
    tables: int
    rows: int
    erased_again: int
    violations: tuple[str, ...]
    former: str = ""


def engine(settings: Settings) -> Engine:
    """The kind of backups that the settings' database has.

    Raises:
        SettingsError.
    """
    if settings.is_embedded:
        return Sqlite(settings)
    return Postgres(settings)


async def restore(settings: Settings, *, to: datetime | None, force: bool) -> Report:
    """Bring the database back to a moment, or as far as the backups go. `force` accepts broken invariants, and with
    SQLite a database that something has open.

    Raises:
        DatabaseInUse, NoBackup, BackupDamaged, RestoreFailed, InvariantsBroken, StorageUnavailable.
    """
    chosen, began = engine(settings), time.monotonic()
    if not (force and settings.is_embedded):
        await chosen.refuse_in_use()
    async with chosen.restored(to=to, beside=True) as scratch:
        report = await _made_good(settings, scratch, began)
        if report.violations and not force:
            raise InvariantsBroken(rules="; ".join(report.violations))
    former = await chosen.swap()
    Place(settings).forget_moments()
    return _ended(report, began, former)


async def try_out(settings: Settings) -> tuple[Report, Moment]:
    """Restore the newest backup into a place of its own, to one of the moments marked since, and compare.

    Raises:
        NoBackup, BackupDamaged, RestoreFailed, InvariantsBroken.
    """
    chosen, began = engine(settings), time.monotonic()
    kept = await chosen.kept()
    if not kept:
        raise NoBackup(of="of this library yet")
    moment = Place(settings).moment_since(kept[-1].finished_at) or await chosen.mark()
    async with chosen.restored(mark=moment.mark) as scratch:
        if different := _differences(moment.tables, await scratch.tables()):
            reason = f"restored to {moment.at:%Y-%m-%d %H:%M:%S %Z}, these tables differ: {', '.join(different)}"
            raise BackupDamaged(label=scratch.backup.label, reason=reason)
        report = await _made_good(settings, scratch, began)
        if report.violations:
            raise InvariantsBroken(rules="; ".join(report.violations))
    return _ended(report, began), moment


def _differences(before: Tables, after: Tables) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


async def _made_good(settings: Settings, scratch: Scratch, began: float) -> Report:
    place, now = Place(settings), datetime.now(UTC)
    counted = await scratch.tables()
    await place.copy_ledger()  # who was erased since the last copy
    async with _opened(scratch.settings) as database:
        if await is_pending(database):
            await migrations.upgrade(database)
        await _outdate(database, now)
        _, erased = await erasure.replay(database, place.storage(), timezone=settings.timezone, now=now)
        await database.scrub()
        async with database.reading(seconds=WHOLE_LIBRARY_SECONDS) as session:
            found = await invariants.violations(session, rules=await policies.rulebook(session))
    return Report(
        backup=scratch.backup.label,
        size_bytes=scratch.backup.size_bytes,
        reached_at=scratch.reached_at,
        seconds=time.monotonic() - began,
        tables=len(counted),
        rows=sum(rows for rows, _ in counted.values()),
        erased_again=erased,
        violations=tuple(f"{each.rule} ({each.what})" for each in found),
    )


async def _outdate(database: Database, now: datetime) -> None:
    """Let every kind of data be newer than whatever was kept of it: a number that comes again would bring that back.

    The clock's milliseconds are beyond all numbers that were used, for they rise by one with a change.
    """
    async with database.transaction() as session:
        await session.execute(update(Generation).values(number=int(now.timestamp() * 1000)))


def _ended(report: Report, began: float, former: str = "") -> Report:
    return replace(report, seconds=round(time.monotonic() - began, 1), former=former)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings)
    try:
        yield database
    finally:
        await database.close()
