"""Backups of SQLite: a copy of the file at one moment, made while others write, with its checksum beside it."""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

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
from app.commands.backups.place import Place, write
from app.core.config import Settings
from app.core.engines import database_url

KEPT: Final = timedelta(days=14)
KEPT_AT_LEAST: Final = 3
PAGES_AT_ONCE: Final = 10_000
STAMP: Final = "%Y%m%dT%H%M%S%fZ"
# The table, its log and the log's index.
PARTS: Final = ("", "-wal", "-shm")


class Sqlite:
    """The database file of the settings, and the folder of its copies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = Path(database_url(settings).database or "")
        self._beside = self._file.with_name(f"{self._file.name}.restored")
        self._place = Place(settings)

    async def back_up(self, *, full: bool) -> Backup:
        """Every one is a full one."""
        del full
        try:
            return await asyncio.to_thread(self._back_up)
        except (sqlite3.Error, OSError) as error:
            raise BackupFailed(reason=_told(error)) from None

    async def kept(self) -> list[Backup]:
        return [_backup(path) for path in self._facts()]

    async def complaint(self) -> None:
        return None

    async def mark(self) -> Moment:
        """The newest backup's: nothing between two of them can be restored."""
        return _moment(self._chosen(None, ""))

    async def refuse_in_use(self) -> None:
        """Leaving its log behind takes SQLite the whole file, which it gets only if nobody else has it open."""
        if not self._file.exists():
            return
        try:
            with closing(sqlite3.connect(self._file, timeout=0)) as connection:
                connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise DatabaseInUse(reason=f"{self._file} is open elsewhere") from None
        except sqlite3.DatabaseError:
            return  # no database any more: that may be why somebody restores

    @asynccontextmanager
    async def restored(
        self, *, to: datetime | None = None, mark: str = "", beside: bool = False
    ) -> AsyncIterator[Scratch]:
        """A copy of the newest backup until then; SQLite knows nothing between two backups."""
        facts = self._chosen(to, mark)
        backup = _backup(facts)
        target = self._beside if beside else self._place.ready("scratch") / "library.db"
        try:
            await asyncio.to_thread(_copy_checked, facts, target)
            settings = self._settings.model_copy(update={"database_url": SecretStr(f"sqlite:///{target.absolute()}")})
            yield Scratch(settings, backup, backup.finished_at, lambda: asyncio.to_thread(tables_of, target))
            if beside:
                await asyncio.to_thread(_fold, target)
        except BaseException:
            _remove(target)
            raise
        if not beside:
            _remove(target)

    async def swap(self) -> str:
        """A rename; the former file stays beside it, with its log.

        Raises:
            RestoreFailed.
        """
        former = self._file.with_name(f"{self._file.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        try:
            for part in PARTS:
                path = self._file.with_name(self._file.name + part)
                if path.exists():
                    path.rename(former.with_name(former.name + part))
            self._beside.rename(self._file)
        except OSError as error:
            raise RestoreFailed(reason=f"{self._file} can't be replaced: {error.strerror}") from None
        return str(former)

    def _back_up(self) -> Backup:
        folder = self._place.ready("sqlite")
        at = datetime.now(UTC)
        file = folder / f"{at:{STAMP}}.db"
        part = file.with_name(f".{file.name}.part")
        try:
            with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as source:
                source.isolation_level = None
                source.execute("BEGIN")  # what is copied and what is summed up are one moment
                tables = _tables(source)
                with closing(sqlite3.connect(part)) as target:
                    source.backup(target, pages=PAGES_AT_ONCE)
                    _check(target)
            with part.open("rb+") as written:
                os.fsync(written.fileno())
            digest = _digest(part)
            part.replace(file)
            facts = {"finished_at": at.isoformat(), "sha256": digest, "size": file.stat().st_size, "tables": tables}
            write(file.with_suffix(".json"), json.dumps(facts).encode())
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        finally:
            _remove(part)
        self._forget(at)
        return _backup(file.with_suffix(".json"))

    def _forget(self, now: datetime) -> None:
        for path in self._facts()[:-KEPT_AT_LEAST]:
            if _backup(path).finished_at < now - KEPT:
                path.unlink()
                path.with_suffix(".db").unlink(missing_ok=True)

    def _facts(self) -> list[Path]:
        return sorted(self._place.ready("sqlite").glob("*.json"))

    def _chosen(self, to: datetime | None, mark: str) -> Path:
        fitting = [
            path
            for path in self._facts()
            if (not mark or path.stem == mark) and (to is None or _backup(path).finished_at <= to)
        ]
        if not fitting:
            raise NoBackup(of=f"that was finished before {to:%Y-%m-%d %H:%M:%S %Z}" if to else "of this library yet")
        return fitting[-1]


def _copy_checked(facts: Path, target: Path) -> None:
    file, label = facts.with_suffix(".db"), facts.stem
    _remove(target)
    try:
        if _digest(file) != json.loads(facts.read_bytes())["sha256"]:
            raise BackupDamaged(label=label, reason="its checksum is not the one that was written down")
        shutil.copyfile(file, target)
        target.chmod(0o600)
        with closing(sqlite3.connect(target)) as copy:
            _check(copy)
    except FileNotFoundError:
        raise BackupDamaged(label=label, reason=f"{file.name} is missing") from None
    except (sqlite3.Error, OSError) as error:
        raise RestoreFailed(reason=_told(error)) from None


def _check(connection: sqlite3.Connection) -> None:
    (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(f"SQLite finds the copy broken: {said}")


def _fold(file: Path) -> None:
    """Bring the log into the file and take it away, so that one rename moves all of it."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def tables_of(file: Path) -> Tables:
    """Sum up every table of a file."""
    with closing(sqlite3.connect(file)) as connection:
        return _tables(connection)


def _tables(connection: sqlite3.Connection) -> Tables:
    listed = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    names = [name for name, kind in listed if kind in {"table", "shadow"} and not name.startswith("sqlite_")]
    return {name: _summed_up(connection, name) for name in names}


def _summed_up(connection: sqlite3.Connection, name: str) -> tuple[int, str]:
    """The sum of the rows' hashes, in whatever order they come."""
    count = total = 0
    for row in connection.execute(f'SELECT * FROM "{name}"'):  # noqa: S608  # SQLite's own names of its tables
        count += 1
        total += int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=8).digest())
    return count, str(total)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _backup(facts: Path) -> Backup:
    said = _read(facts)
    return Backup(facts.stem, "full", datetime.fromisoformat(said["finished_at"]), said["size"], said["size"])


def _moment(facts: Path) -> Moment:
    said = _read(facts)
    tables = {name: (rows, digest) for name, (rows, digest) in said["tables"].items()}
    return Moment(datetime.fromisoformat(said["finished_at"]), facts.stem, tables)


def _read(facts: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(facts.read_bytes()))
    except ValueError:
        raise BackupDamaged(label=facts.stem, reason=f"{facts.name} can't be read") from None


def _remove(file: Path) -> None:
    for part in (*PARTS, "-journal"):
        file.with_name(file.name + part).unlink(missing_ok=True)


def _told(error: Exception) -> str:
    said = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return f"{said}; make room on the disk" if "full" in said or "No space" in said else said
