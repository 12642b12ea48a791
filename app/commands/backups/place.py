"""The place of backups: BACKUP_DIR with moments, copies of files and of the erasure ledger, and the day's desk list."""

import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from app.commands.backups.kept import Moment
from app.core.config import Settings
from app.core.storage import Storage
from app.erasure.service import FOLDER as LEDGER
from app.uploads.service import FOLDER as FILES

MOMENTS_KEPT: Final = 200
DELETED_FILES_KEPT: Final = timedelta(days=14)


class Place:
    """Everything beside the database's own backups."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.backup_dir or settings.data_dir / "backups"
        self._settings = settings

    def ready(self, name: str) -> Path:
        """A folder in it, made if it wasn't there; only its owner reads it."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def storage(self) -> Storage:
        """The copies of ledger and files, under the names that they have in the service's own storage."""
        return Storage(self._settings.model_copy(update={"storage_url": None, "upload_dir": self.ready("copies")}))

    async def copy_ledger(self) -> int:
        """Copy what the erasure ledger names and the copy doesn't; nothing is ever taken out. Gives how many.

        Raises:
            StorageUnavailable.
        """
        return len(await self._copy(LEDGER))

    async def copy_files(self, *, now: datetime) -> int:
        """Copy covers and documents that are not there yet; gives how many. A deleted one goes two weeks later.

        Raises:
            StorageUnavailable.
        """
        new = await self._copy(FILES)
        copies = self.storage()
        gone = [stored.name async for stored in copies.listed(FILES) if now - stored.written_at > DELETED_FILES_KEPT]
        await copies.delete(gone)
        return len(new)

    async def _copy(self, prefix: str) -> set[str]:
        """A copy's time says when its original was last seen."""
        ours, copies = Storage(self._settings), self.storage()
        there = {stored.name async for stored in ours.listed(prefix)}
        copied = {stored.name async for stored in copies.listed(prefix)}
        for name in sorted(there):
            if name not in copied:
                await copies.put(name, await ours.read(name))
            os.utime(self.folder / "copies" / name)
        return there - copied

    def keep(self, moment: Moment) -> None:
        """Keep a moment; the oldest of very many goes."""
        folder = self.ready("moments")
        facts = {"at": moment.at.isoformat(), "mark": moment.mark, "tables": moment.tables}
        write(folder / f"{moment.at:%Y%m%dT%H%M%S%f}.json", json.dumps(facts).encode())
        for old in sorted(folder.glob("*.json"))[:-MOMENTS_KEPT]:
            old.unlink()

    def moment_since(self, begin: datetime) -> Moment | None:
        """Any one moment that was kept since then."""
        moments = [_moment(path) for path in self.ready("moments").glob("*.json")]
        later = [moment for moment in moments if moment.at > begin]
        return random.choice(later) if later else None  # noqa: S311  # a sample, nothing to guard

    def forget_moments(self) -> None:
        """After a restore: what was marked since is of a past that was given up."""
        for path in self.ready("moments").glob("*.json"):
            path.unlink()


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; it is on the disk when this returns."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _moment(path: Path) -> Moment:
    facts = json.loads(path.read_bytes())
    tables = {name: (rows, digest) for name, (rows, digest) in facts["tables"].items()}
    return Moment(datetime.fromisoformat(facts["at"]).astimezone(UTC), facts["mark"], tables)
