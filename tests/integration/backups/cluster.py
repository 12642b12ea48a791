"""A PostgreSQL whose write-ahead log pgBackRest keeps, set up by the files that are shipped."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from app.commands.backups import pgbackrest
from app.core.config import Environment, Settings
from tests import servers
from tests.conftest import SECRET, _administer
from tests.integration.commands.command_line import ROOT, CommandLine

ARCHIVING = ("archive_mode", "archive_command")


class Cluster(servers.Postgres):
    """One with a library in it, a folder for its backups, and the command line that keeps them."""

    def __init__(self, folder: Path, archive_timeout: str) -> None:
        super().__init__(folder)
        self.data = folder / "data"
        self.backups = folder / "backups"
        self.repository = self.backups / "pgbackrest"
        self.pgbackrest = {
            "PGBACKREST_CONFIG": str(folder / "pgbackrest.conf"),
            "PGBACKREST_CONFIG_INCLUDE_PATH": str(folder / "conf.d"),
            "PGBACKREST_LOCK_PATH": str(folder / "lock"),
            # What is damaged on purpose doesn't get better in the 15 s after which it is read again.
            "PGBACKREST_JOB_RETRY": "0",
        }
        self._write_configuration(folder)
        shipped = (ROOT / "postgres" / "postgresql.conf").read_text().splitlines()
        chosen = [line for line in shipped if line.partition(" ")[0] in ARCHIVING]
        assert len(chosen) == len(ARCHIVING)
        with (self.data / "postgresql.conf").open("a") as config:
            config.write("\n".join([*chosen, f"archive_timeout = {archive_timeout}", ""]))
        for path in (self.backups, self.repository, folder / "lock"):
            path.mkdir(mode=0o700)
            shutil.chown(path, self.data.owner())

    def _write_configuration(self, folder: Path) -> None:
        make = [sys.executable, str(ROOT / "scripts" / "make_env.py"), "--environment", "production"]
        subprocess.run([*make, "--folder", str(folder)], check=True, capture_output=True)
        secret = (folder / "secrets" / "pgbackrest.conf").read_text()
        shipped = (ROOT / "pgbackrest" / "pgbackrest.conf").read_text()
        (folder / "conf.d").mkdir()
        moved = secret.replace("/var/lib/library-backups", str(self.backups))
        (folder / "conf.d" / "repository.conf").write_text(moved)
        ours = shipped.replace("/var/lib/postgresql/data", str(self.data)).replace("/var/run/postgresql", str(folder))
        (folder / "pgbackrest.conf").write_text(f"{ours}pg1-port={self.port}\n")

    def settings(self) -> Settings:
        return Settings(
            _env_file=None,
            data_dir=self.folder / "service",
            database_url=SecretStr(f"{self.url}/library"),
            secret_key=SecretStr(SECRET),
            environment=Environment.DEVELOPMENT,
            backup_dir=self.backups,
            pgbackrest_config=Path(self.pgbackrest["PGBACKREST_CONFIG"]),
            scheduler_enabled=False,
        )

    def library(self) -> CommandLine:
        found = CommandLine.of(self.settings())
        return CommandLine(found.folder, found.settings | self.pgbackrest)


@contextmanager
def archiving(archive_timeout: str = "2s") -> Iterator[Cluster]:
    """A running cluster with a migrated library, stopped and removed at the end."""
    with keeping(archive_timeout) as cluster:
        asyncio.run(_administer(cluster.url, "CREATE DATABASE library"))
        cluster.library().done("migrate")
        yield cluster


@contextmanager
def keeping(archive_timeout: str, prepare: Callable[[Cluster], None] = lambda _: None) -> Iterator[Cluster]:
    """The same without a database in it; `prepare` may change it before its first start."""
    folder = Path(tempfile.mkdtemp(prefix="library-backups-", dir=servers.memory_folder()))
    before = dict(os.environ)
    try:
        cluster = Cluster(folder, archive_timeout)
        os.environ.update(cluster.pgbackrest)  # the server passes it on to its archiver
        prepare(cluster)
        cluster.start()
        try:
            # Before there is anything to archive: a server that was refused tries again a minute later.
            asyncio.run(pgbackrest.Cluster.of(cluster.settings()).pgbackrest("stanza-create"))
            cluster.settings().data_dir.mkdir()
            yield cluster
        finally:
            cluster.stop()
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)
