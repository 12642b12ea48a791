"""What a host runs and what is being done to it: a file that a killed deploy leaves readable, and a lock."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel

from app.core.errors import Conflict

Colour = Literal["blue", "green"]

SERVICES: Final[dict[Colour, str]] = {"blue": "api", "green": "api-green"}
KEPT_RECORDS: Final = 20


class DeployUnderWay(Conflict):
    code, detail = "deploy_under_way", "Another deploy is at work on this host ({who}). Wait for it to end."


class Release(BaseModel):
    """An image by its name, and by the digest of what is in it."""

    image: str
    digest: str

    def __str__(self) -> str:
        return f"{self.image} ({self.digest.removeprefix('sha256:')[:12]})"


class UnderWay(BaseModel):
    """A deploy that was begun: where to, and which of its steps need not be done again."""

    verb: str
    release: Release
    done: list[str] = []


class Record(BaseModel):
    """How a deploy ended; `switch_seconds` passed between the new members and the last old worker's last accept."""

    at: datetime
    verb: str
    release: Release
    outcome: str
    seconds: float
    switch_seconds: float | None = None


class State(BaseModel):
    live: Colour = "blue"
    running: Release | None = None
    previous: Release | None = None
    candidate: Release | None = None
    tested: str = ""
    under_way: UnderWay | None = None
    records: list[Record] = []

    @property
    def idle(self) -> Colour:
        return "green" if self.live == "blue" else "blue"


class Book:
    """The state's file in `folder`/.deploy, always whole: what is written replaces it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".deploy"
        self._path = self._folder / "state.json"
        self.is_new = not self._path.exists()
        self.state = State() if self.is_new else State.model_validate_json(self._path.read_text(encoding="utf-8"))

    def save(self) -> None:
        self._folder.mkdir(exist_ok=True)
        replace(self._path, self.state.model_dump_json(indent=2) + "\n")
        self.is_new = False

    def record(self, record: Record) -> None:
        self.state.records = [*self.state.records, record][-KEPT_RECORDS:]


def replace(path: Path, text: str) -> None:
    """Write the file so that whoever reads it, or a crash, finds the old text or the new one."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the host's lock; the kernel lets go of it when the process ends, however it ends.

    Raises:
        DeployUnderWay: somebody else holds it.
    """
    (folder / ".deploy").mkdir(exist_ok=True)
    with (folder / ".deploy" / "lock").open("a+", encoding="utf-8") as file:
        file.seek(0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DeployUnderWay(who=file.read().strip() or "it has only just begun") from error
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {datetime.now(UTC):%H:%M:%S} UTC")
        file.flush()
        yield
