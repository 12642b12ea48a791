"""What a backup is, how its moment is known again, and the refusals of whoever makes or restores one."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.core.config import Settings
from app.core.errors import Conflict, NotFound, Unavailable

# Rows and a checksum over all of them, by table.
Tables = dict[str, tuple[int, str]]


class NoBackup(NotFound):
    code, detail = "no_backup", "There is no backup {of}. `library backup list` shows what there is."


class BackupFailed(Unavailable):
    code, detail = "backup_failed", "No backup was made: {reason}. What was kept before is untouched."


class BackupDamaged(Conflict):
    code, detail = (
        "backup_damaged",
        "The backup {label} is damaged and was not restored: {reason}. The database is as it was.",
    )


class RestoreFailed(Conflict):
    code, detail = "restore_failed", "Nothing was restored: {reason}. The database is as it was."


class DatabaseInUse(Conflict):
    code, detail = "database_in_use", "The database is in use ({reason}). Stop the service first; nothing was touched."


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup that is kept; `size_bytes` is the database's, `stored_bytes` what the backup takes of the disk."""

    label: str
    kind: str
    finished_at: datetime
    size_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment at which the tables were summed up; `mark` is how the engine finds it in its backups again."""

    at: datetime
    mark: str
    tables: Tables


@dataclass(frozen=True, slots=True)
class Scratch:
    """A database restored beside the real one: settings that lead to it, and what it came from."""

    settings: Settings
    backup: Backup
    reached_at: datetime | None
    tables: Callable[[], Awaitable[Tables]]


class Engine(Protocol):
    """How one kind of database is backed up and restored; app/commands/backups/{postgres,sqlite}.py are the two."""

    async def back_up(self, *, full: bool) -> Backup:
        """Make a backup. What was kept before stays, whatever happens.

        Raises:
            BackupFailed.
        """

    async def kept(self) -> list[Backup]:
        """What is kept, the oldest first."""

    async def complaint(self) -> str | None:
        """What is wrong with the backups just now, in a sentence, or None."""

    async def mark(self) -> Moment:
        """A moment with its tables summed up, to which a restore can go and then be compared.

        Raises:
            NoBackup, BackupFailed.
        """

    async def refuse_in_use(self) -> None:
        """Raise DatabaseInUse while something has the real database open."""

    def restored(
        self, *, to: datetime | None = None, mark: str = "", beside: bool = False
    ) -> AbstractAsyncContextManager[Scratch]:
        """A database restored to a time, a mark or as far as possible; closed at the end, and removed unless `beside`.

        Raises:
            NoBackup, BackupDamaged, RestoreFailed.
        """

    async def swap(self) -> str:
        """Put what was restored `beside` into the real one's place, at once; gives where the former is now."""
