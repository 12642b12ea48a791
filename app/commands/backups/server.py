"""A PostgreSQL server on a restored folder, for whoever restored it alone: no network, no archive, its own socket."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.commands.backups.kept import Backup, BackupDamaged, RestoreFailed
from app.commands.backups.pgbackrest import CommandFailed, pgbackrest, run

PROGRAMS: Final = Path("/usr/lib/postgresql")
PORT: Final = 5432
# The log of a large day takes a while to be read.
START_SECONDS: Final = 6 * 3_600
ENDS_EARLY: Final = "recovery ended before configured recovery target was reached"
FULL_DISK: Final = "No space left on device"


@dataclass(frozen=True, slots=True)
class Server:
    """`folder` is the cluster's, `socket` the folder of the socket and of the server's own files."""

    folder: Path
    socket: Path

    def url(self, database: str, user: str) -> str:
        return f"postgresql://{user}@/{database}?host={self.socket}&port={PORT}"

    async def control(self, *options: str) -> None:
        """Run pg_ctl as the folder's owner: PostgreSQL refuses root.

        Raises:
            CommandFailed.
        """
        version = (self.folder / "PG_VERSION").read_text().strip()
        owner = ["runuser", "-u", self.folder.owner(), "--"] if os.geteuid() == 0 else []
        # Its output goes to a file, since the server inherits it.
        await run([*owner, str(PROGRAMS / version / "bin" / "pg_ctl"), "-D", str(self.folder), "-w", *options])


@asynccontextmanager
async def recovered(folder: Path, backup: Backup, target: Sequence[str], *, is_kept: bool) -> AsyncIterator[Server]:
    """A server with a backup restored into `folder` and played forward to the target; stopped at the end.

    The folder is removed then, unless it `is_kept`; it is removed too if anything goes wrong. The repository is only
    read.

    Raises:
        BackupDamaged, RestoreFailed.
    """
    socket = Path(tempfile.mkdtemp(prefix="library-"))
    server = Server(folder, socket)
    try:
        await _fetch(folder, backup, target)
        await _start(server, is_durable=is_kept)
        try:
            yield server
        finally:
            await server.control("-m", "fast", "stop")
        if is_kept:
            _announce_timeline(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(socket, ignore_errors=True)
    if not is_kept:
        shutil.rmtree(folder)


async def _fetch(folder: Path, backup: Backup, target: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True)  # noqa: ASYNC240  # nobody else waits for this loop
        await pgbackrest("restore", f"--pg1-path={folder}", f"--set={backup.label}", *target)
    except (CommandFailed, OSError) as failure:
        if FULL_DISK in str(failure):
            raise RestoreFailed(reason=f"there is no room for a second copy at {folder.parent}") from None
        raise BackupDamaged(label=backup.label, reason=failure) from None


async def _start(server: Server, *, is_durable: bool) -> None:
    log = server.socket / "log"
    (server.socket / "pg_hba.conf").write_text("local all all trust\n")
    (server.socket / "postgresql.conf").write_text(
        f"listen_addresses = ''\nunix_socket_directories = '{server.socket}'\nport = {PORT}\n"
        f"hba_file = '{server.socket}/pg_hba.conf'\nfsync = {'on' if is_durable else 'off'}\ntimezone = 'UTC'\n"
        # Nobody may read before all is played back, and then the primary's limits need not be met.
        "hot_standby = off\n"
    )
    own = server.folder.stat()
    for path in (server.socket, *server.socket.iterdir()):
        os.chown(path, own.st_uid, own.st_gid)
    options = f"-c config_file={server.socket}/postgresql.conf -c archive_mode=off"
    try:
        await server.control("-t", str(START_SECONDS), "-l", str(log), "-o", options, "start")
    except CommandFailed as failure:
        said = log.read_text(errors="replace") if log.exists() else str(failure)
        if ENDS_EARLY in said:
            raise RestoreFailed(reason="the write-ahead log that was kept ends before that moment") from None
        fatal = [line.partition("FATAL:")[2].strip() for line in said.splitlines() if "FATAL:" in line]
        raise RestoreFailed(reason=fatal[0] if fatal else str(failure)) from None


def _announce_timeline(folder: Path) -> None:
    """Have the new timeline's history archived once the cluster serves; before, nobody must follow it."""
    log = folder / "pg_wal"
    newest = max(log.glob("*.history"))
    mark = log / "archive_status" / f"{newest.name}.ready"
    own = log.stat()
    with suppress(FileNotFoundError):
        mark.with_suffix(".done").unlink()
    mark.touch(mode=0o600)
    os.chown(mark, own.st_uid, own.st_gid)
