"""PgBackRest and the cluster that it keeps: its settings, its commands, and what the server's own programs need."""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from configparser import RawConfigParser
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from app.commands.backups.kept import Backup
from app.core.config import Settings
from app.core.errors import SettingsError

STANZA: Final = "library"
SERVERS: Final = 8  # of one stanza, as many as pgBackRest takes
SHOWN_CHARACTERS: Final = 300
UNWRITTEN: Final = "[064]"
FULL_DISK: Final = "No space left on device"


class CommandFailed(Exception):
    """A program ended badly; the message is what it said, in a line."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The PostgreSQL cluster of pgBackRest's stanza: its folder, and where and as whom its socket is reached."""

    data: Path
    socket: Path
    port: int
    user: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As PGBACKREST_CONFIG says; of several servers that follow each other, the one that is the primary now.

        Raises:
            SettingsError.
        """
        config = RawConfigParser(strict=False)
        if not config.read(settings.pgbackrest_config) or not config.has_option(STANZA, "pg1-path"):
            raise SettingsError(
                f"PGBACKREST_CONFIG names {settings.pgbackrest_config}, which has no [{STANZA}] with a pg1-path."
                " Backups of PostgreSQL are made where pgBackRest and the cluster's folder are: docs/backup.md"
            )
        said = config[STANZA]
        return max(
            (
                cls(
                    Path(said[f"{each}-path"]),
                    Path(said.get(f"{each}-socket-path", "/var/run/postgresql")),
                    int(said.get(f"{each}-port", "5432")),
                    said.get(f"{each}-user", "postgres"),
                )
                for each in (f"pg{number}" for number in range(1, SERVERS + 1))
                if f"{each}-path" in said
            ),
            key=cls._led_at,
        )

    def _led_at(self) -> float:
        """When it last wrote as a primary: one that crashed has not, since another was promoted."""
        try:
            is_standby = (self.data / "standby.signal").exists()
            return 0 if is_standby else (self.data / "global" / "pg_control").stat().st_mtime
        except OSError:
            return 0

    @property
    def owner(self) -> str:
        """Whose the folder is, if we are root; else nobody, since we are he."""
        return "" if os.geteuid() != 0 else (self.data if self.data.exists() else self.data.parent).owner()

    def as_owner(self) -> list[str]:
        """Words before a command: PostgreSQL refuses root, and what root writes its archiver can't read."""
        return ["runuser", "-u", self.owner, "--"] if self.owner else []

    def give(self, *paths: Path) -> None:
        """What root made becomes the owner's."""
        for path in paths if self.owner else ():
            shutil.chown(path, self.owner, self.owner)

    async def pgbackrest(self, command: str, *options: str) -> str:
        """A command of pgBackRest's on our stanza, by the settings of its own.

        Raises:
            CommandFailed.
        """
        quiet = ["--log-level-console=off", "--log-level-stderr=error"]
        return await run([*self.as_owner(), "pgbackrest", f"--stanza={STANZA}", *quiet, *options, command])

    async def newest_log(self) -> str:
        """The name of the newest piece of the write-ahead log that is kept.

        Raises:
            CommandFailed.
        """
        return max(str(each["max"]) for each in (await self._info())["archive"])

    async def backups(self) -> list[Backup]:
        """The whole backups of the repository, the oldest first.

        Raises:
            CommandFailed.
        """
        return [
            Backup(
                given["label"],
                given["type"],
                datetime.fromtimestamp(given["timestamp"]["stop"], UTC),
                given["info"]["size"],
                given["info"]["repository"]["delta"],
            )
            for given in (await self._info()).get("backup", ())
            if not given["error"]
        ]

    async def _info(self) -> dict[str, Any]:
        (stanza,) = json.loads(await self.pgbackrest("info", "--output=json")) or [{}]
        return dict(stanza)


async def run(command: Sequence[str]) -> str:
    """Run a program and give what it printed.

    Raises:
        CommandFailed.
    """
    for program in {command[0], "pgbackrest"}:
        if shutil.which(program) is None:
            raise CommandFailed(f"{program} is not installed here")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        cwd="/",
    )  # fmt: skip
    try:
        printed, complained = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        raise CommandFailed(_told(complained.decode(errors="replace") + printed.decode(errors="replace")))
    return printed.decode(errors="replace")


def _told(text: str) -> str:
    """The line that says why: pgBackRest's and PostgreSQL's own words, without their marks."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    worst = [line for line in lines if FULL_DISK in line] or [line for line in lines if "ERROR:" in line]
    said = (worst or lines or ["it said nothing"])[0]
    told = said.rpartition("ERROR:")[2].strip()[:SHOWN_CHARACTERS].rstrip(":.")
    # Of a short write it tells the reason that the system gave last, whatever that was about.
    return f"{told}; is there room on its disk?" if UNWRITTEN in text or FULL_DISK in text else told
