"""The service with its demonstration library, in a process of its own, for browsers to visit."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from tests.servers import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
CHROMIUM: Final = "/usr/bin/chromium"
READER_CARD: Final = "2000000000040"
START_SECONDS: Final = 60


@dataclass(frozen=True)
class Service:
    """Where it answers, who may sign in, and the folder with its database and what it said."""

    address: str
    passwords: dict[str, str]
    folder: Path

    def barcodes(self, limit: int, *, branch: str = "main") -> list[str]:
        """Copies of different books that stand on a branch's shelf."""
        with closing(sqlite3.connect(f"file:{self.folder}/library.db?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT min(barcode) FROM copies WHERE branch_id = ? AND item_type = 'book' AND status = 'available'"
                " GROUP BY book_id ORDER BY 1 LIMIT ?",
                (branch, limit),
            ).fetchall()
        return [row[0] for row in rows]

    def said(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """Start it on a free port; stop it also when the block fails."""
    port = free_port()
    address = f"http://localhost:{port}"
    settings = {
        "PATH": os.environ["PATH"], "DATA_DIR": str(folder), "PORT": str(port), "ENVIRONMENT": "development",
        "RATE_LIMIT_ENABLED": "false", "PROJECT_NAME": "Riverside Library", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        command = [str(Path(sys.executable).with_name("library")), "serve", "--demo"]
        process = subprocess.Popen(command, env=settings, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(address, process)
            told = (folder / "log").read_text()
            passwords = dict(re.findall(r"^(\S+)@library\.test +(\S+)", told, re.MULTILINE))
            yield Service(address, passwords, folder)
        finally:
            process.terminate()
            process.wait(30)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{address}/health/ready", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("the service did not start")
