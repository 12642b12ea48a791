"""Backups of PostgreSQL: pgBackRest keeps them and the write-ahead log, so that any second can be restored."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.commands.backups.kept import (
    Backup,
    BackupDamaged,
    BackupFailed,
    DatabaseInUse,
    Moment,
    NoBackup,
    RestoreFailed,
    Scratch,
    Tables,
)
from app.commands.backups.pgbackrest import Cluster, CommandFailed
from app.commands.backups.place import Place
from app.commands.backups.server import Server, recovered
from app.core.config import Settings
from app.core.db import Database

FULL_EVERY: Final = timedelta(days=6, hours=12)
LOCK_TRIES: Final = 20
OWNER: Final = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
BUSY: Final = ("lock timeout", "deadlock detected")


class Postgres:
    """The cluster that pgBackRest's settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster = Cluster.of(settings)
        self._place = Place(settings)
        self._beside = self._cluster.data.with_name(f"{self._cluster.data.name}.restored")
        assert settings.database_url
        self._name = make_url(settings.database_url.get_secret_value()).database or "library"

    async def back_up(self, *, full: bool) -> Backup:
        """A full one each week and whenever asked, else what changed since the last."""
        try:
            await self._cluster.pgbackrest("stanza-create")
            kept = [backup for backup in await self._cluster.backups() if backup.kind == "full"]
            is_due = not kept or datetime.now(UTC) - kept[-1].finished_at > FULL_EVERY
            await self._cluster.pgbackrest("backup", f"--type={'full' if full or is_due else 'incr'}")
            return (await self._cluster.backups())[-1]
        except CommandFailed as failure:
            raise BackupFailed(reason=failure) from None

    async def kept(self) -> list[Backup]:
        """What the repository holds.

        Raises:
            RestoreFailed: it can't be read.
        """
        try:
            return await self._cluster.backups()
        except CommandFailed as failure:
            raise RestoreFailed(reason=failure) from None

    async def complaint(self) -> str | None:
        """What the server itself notes of its write-ahead log, if that doesn't reach the repository."""
        failing = text(
            "SELECT last_failed_wal FROM pg_stat_archiver"
            " WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"
        )
        async with _opened(self._local()) as database, database.reading() as session:
            name = await session.scalar(failing)
        return f"the write-ahead log can't be kept: {name} was not taken by the repository" if name else None

    async def mark(self) -> Moment:
        """Writers wait for a few milliseconds, so that the sums are what a restore to the mark must give, to the row.

        Raises:
            BackupFailed: too much was going on, or the log can't be kept.
        """
        async with _opened(self._local()) as database:
            moment = await _marked(database)
        try:
            await self._cluster.pgbackrest("check")  # what was written until now is in the repository when this ends
        except CommandFailed as failure:
            raise BackupFailed(reason=failure) from None
        return moment

    async def refuse_in_use(self) -> None:
        """PostgreSQL's own sign that it runs; left behind if it crashed."""
        sign = self._cluster.data / "postmaster.pid"
        if sign.exists():
            raise DatabaseInUse(reason=f"{sign} is there; remove it if no server runs on that folder any more")

    @asynccontextmanager
    async def restored(
        self, *, to: datetime | None = None, mark: str = "", beside: bool = False
    ) -> AsyncIterator[Scratch]:
        """A cluster restored into a folder beside the real one, or in the place of backups."""
        backup = await self._chosen(to)
        folder = self._beside
        if not beside:
            self._cluster.give(self._place.ready("scratch"))
            folder = self._place.ready("scratch") / "data"
        target: list[str] = []
        if mark:
            target = ["--type=name", f"--target={mark}", "--target-action=promote"]
        elif to:
            until = to.astimezone(UTC).isoformat(" ")
            target = ["--type=time", f"--target={until}", "--target-action=promote"]
        async with recovered(self._cluster, folder, backup, target, is_kept=beside) as server:
            reached_at = await self._reached(server, backup, is_whole=not target)
            # As whoever owns the tables: what a migration makes must be his.
            (owner,) = await self._asked(server, OWNER)
            settings = self._local(server.url(self._name, owner))
            yield Scratch(settings, backup, reached_at, lambda: tables_of(settings))

    async def swap(self) -> str:
        """Two renames in one folder; the former cluster stays beside it.

        Raises:
            RestoreFailed.
        """
        data = self._cluster.data
        former = data.with_name(f"{data.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        try:
            if data.exists():
                data.rename(former)
            self._beside.rename(data)
        except OSError as error:
            raise RestoreFailed(reason=f"{data} can't be replaced: {error.strerror}") from None
        return str(former)

    async def _chosen(self, to: datetime | None) -> Backup:
        fitting = [backup for backup in await self.kept() if to is None or backup.finished_at <= to]
        if not fitting:
            raise NoBackup(of=f"that was finished before {to:%Y-%m-%d %H:%M:%S %Z}" if to else "of this library yet")
        return fitting[-1]

    async def _reached(self, server: Server, backup: Backup, *, is_whole: bool) -> datetime:
        """The last change that was played back.

        Raises:
            BackupDamaged: the log should have led further.
        """
        said = "SELECT pg_last_xact_replay_timestamp(), substr(pg_walfile_name(pg_last_wal_replay_lsn()), 9)"
        at, log = await self._asked(server, said)
        kept = await self._cluster.newest_log()
        if is_whole and log < kept[8:]:
            reason = f"the write-ahead log breaks off at {log}, though it is kept until {kept[8:]}"
            raise BackupDamaged(label=backup.label, reason=reason)
        return at or backup.finished_at

    async def _asked(self, server: Server, said: str) -> Sequence[Any]:
        settings = self._local(server.url(self._name, self._cluster.user))
        async with _opened(settings) as database, database.reading() as session:
            return (await session.execute(text(said))).one()

    def _local(self, url: str = "") -> Settings:
        """Settings for a way in by a socket; without `url` that of the real server."""
        cluster = self._cluster
        url = url or f"postgresql://{cluster.user}@/{self._name}?host={cluster.socket}&port={cluster.port}"
        return self._settings.model_copy(update={"database_url": SecretStr(url), "database_replica_url": None})


async def _marked(database: Database) -> Moment:
    for _ in range(LOCK_TRIES):
        try:
            async with database.reading() as frozen:
                at, name = await _frozen(database, frozen)
                return Moment(at, name, await _summed_up(frozen))
        except DBAPIError as error:
            if not any(word in str(error.orig) for word in BUSY):
                raise
        await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311  # spreads tries, guards nothing
    raise BackupFailed(reason="the library was too busy for a moment's rest in which to mark it")


async def _frozen(database: Database, frozen: AsyncSession) -> tuple[datetime, str]:
    """Take a snapshot exactly at a mark in the write-ahead log: while writers are held off, for milliseconds."""
    name = f"library-{uuid4().hex}"
    await frozen.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    await frozen.execute(text("SET LOCAL statement_timeout = 0"))
    async with database.transaction() as holding:
        # Less than the server takes to look for a deadlock: we are the ones to give way.
        await holding.execute(text("SET LOCAL lock_timeout = '200ms'"))
        names = ", ".join(await _names(holding))
        await holding.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
        taken = await frozen.execute(
            text("SELECT clock_timestamp() FROM pg_create_restore_point(:name)"), {"name": name}
        )
        return taken.scalar_one(), name


async def tables_of(settings: Settings) -> Tables:
    """Sum up every table of a database."""
    async with _opened(settings) as database, database.reading() as session:
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        return await _summed_up(session)


async def _summed_up(session: AsyncSession) -> Tables:
    """The server sums up the rows' hashes, in whatever order it finds them."""
    summed = {}
    for name in await _names(session):
        said = text(f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {name} AS t")  # noqa: S608  # names are the catalogue's, quoted
        rows, digest = (await session.execute(said)).one()
        summed[name] = (rows, digest)
    return summed


async def _names(session: AsyncSession) -> list[str]:
    said = text("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return list(await session.scalars(said))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings)
    try:
        yield database
    finally:
        await database.close()
