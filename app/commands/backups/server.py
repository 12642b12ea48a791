"""A PostgreSQL server on a restored folder, for whoever restored it alone: no network, no archive, its own socket."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.commands.backups.kept import Backup, BackupDamaged, RestoreFailed
from app.commands.backups.pgbackrest import FULL_DISK, Cluster, CommandFailed, run

PROGRAMS: Final = Path("/usr/lib/postgresql")
PORT: Final = 5432
ENDS_EARLY: Final = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True, slots=True)
class Server:
    """`folder` is what was restored, `socket` the folder of the socket and of the server's own files."""

    cluster: Cluster
    folder: Path
    socket: Path

    def url(self, database: str, user: str) -> str:
        return f"postgresql://{user}@/{database}?host={self.socket}&port={PORT}"

    async def control(self, *options: str) -> None:
        """Run pg_ctl.

        Raises:
            CommandFailed.
        """
        await self._run("pg_ctl", "-D", str(self.folder), "-w", *options)

    async def wait(self) -> None:
        """Return when it answers, which is when all was played back.

        Raises:
            CommandFailed: it ended before.
        """
        while True:
            try:
                await self._run("pg_isready", "-q", "-h", str(self.socket), "-p", str(PORT))
            except CommandFailed:
                await self.control("status")
                await asyncio.sleep(0.1)
            else:
                return

    async def _run(self, program: str, *options: str) -> None:
        version = (self.folder / "PG_VERSION").read_text().strip()
        await run([*self.cluster.as_owner(), str(PROGRAMS / version / "bin" / program), *options])


@asynccontextmanager
async def recovered(
    cluster: Cluster, folder: Path, backup: Backup, target: Sequence[str], *, is_kept: bool
) -> AsyncIterator[Server]:
    """A server with a backup restored into `folder` and played forward to the target; stopped at the end.

    The folder is removed then, unless it `is_kept`; it is removed too if anything goes wrong. The repository is only
    read.

    Raises:
        BackupDamaged, RestoreFailed.
    """
    socket = Path(tempfile.mkdtemp(prefix="library-"))
    server = Server(cluster, folder, socket)
    try:
        await _fetch(cluster, folder, backup, target)
        await _start(server, is_durable=is_kept)
        try:
            yield server
        finally:
            await server.control("-m", "fast", "stop")
        if is_kept:
            _announce_timeline(cluster, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(socket, ignore_errors=True)
    if not is_kept:
        shutil.rmtree(folder)


async def _fetch(cluster: Cluster, folder: Path, backup: Backup, target: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True)  # noqa: ASYNC240  # nobody else waits for this loop
        cluster.give(folder)
        await cluster.pgbackrest("restore", f"--pg1-path={folder}", f"--set={backup.label}", *target)
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
    server.cluster.give(server.socket, *server.socket.iterdir())
    options = f"-c config_file={server.socket}/postgresql.conf -c archive_mode=off"
    try:
        await server.control("-l", str(log), "-o", options, "start")
        await server.wait()
    except CommandFailed as failure:
        said = log.read_text(errors="replace") if log.exists() else str(failure)
        if ENDS_EARLY in said:
            raise RestoreFailed(reason="the write-ahead log that was kept ends before that moment") from None
        fatal = [line.partition("FATAL:")[2].strip() for line in said.splitlines() if "FATAL:" in line]
        raise RestoreFailed(reason=fatal[0] if fatal else str(failure)) from None


def _announce_timeline(cluster: Cluster, folder: Path) -> None:
    """Have the new timeline's history archived once the cluster serves; before, nobody must follow it."""
    log = folder / "pg_wal"
    newest = max(log.glob("*.history"))
    mark = log / "archive_status" / f"{newest.name}.ready"
    with suppress(FileNotFoundError):
        mark.with_suffix(".done").unlink()
    mark.touch(mode=0o600)
    cluster.give(mark)
