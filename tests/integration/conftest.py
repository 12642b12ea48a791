"""The real records, taken in once a run by the command that a librarian types, on each database."""

import asyncio
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from app.core.config import Settings
from app.core.db import Database
from tests.conftest import SECRET, _administer, _settings

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "loc_sample.mrc.xz"
SAMPLE_RECORDS = 20_833


@dataclass(frozen=True)
class Sample:
    """A library that holds the sample, and what the import said and cost. Not to be written to."""

    settings: Settings
    told: dict[str, Any]
    seconds: float
    peak_bytes: int


def run_import(settings: Settings, *arguments: str) -> tuple[dict[str, Any], float, int]:
    """`library catalog import … --json`: what it told, its seconds, and the peak memory of its processes together."""
    started = time.monotonic()
    process = subprocess.Popen(command(*arguments), env=environment(settings), cwd=ROOT, stdout=subprocess.PIPE)
    peak_bytes = 0
    while process.poll() is None:
        peak_bytes = max(peak_bytes, sum(map(_held_by, _family(process.pid))))
        time.sleep(0.1)
    seconds = time.monotonic() - started
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return json.loads(output), seconds, peak_bytes


def _family(pid: int) -> list[int]:
    """The process and those that it started."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children())]
    except psutil.NoSuchProcess:
        return []


def _held_by(pid: int) -> int:
    """The memory that the process holds, with its part of what it shares with others (PSS)."""
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", told, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", "catalog", "import", *arguments, "--json"]


def environment(settings: Settings) -> dict[str, str]:
    url = settings.database_url
    variables = {"DATA_DIR": str(settings.data_dir), "SECRET_KEY": SECRET, "PATH": os.environ["PATH"]}
    return variables | ({"DATABASE_URL": url.get_secret_value()} if isinstance(url, SecretStr) else {})


@pytest.fixture(scope="session")
def sample_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, testrun_uid: str
) -> Callable[[str], Sample]:
    """Gives the sample library on a database; the first worker that asks takes the records in."""
    folder = tmp_path_factory.getbasetemp().parent / f"sample-{testrun_uid}"
    folder.mkdir(exist_ok=True)

    def given(backend: str) -> Sample:
        with (folder / f"{backend}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            settings = _sample_settings(request, folder, backend, testrun_uid)
            facts = folder / f"{backend}.json"
            if not facts.exists():
                _create(request, settings, backend)
                facts.write_text(json.dumps(run_import(settings, str(_sample_file(request)))))
            told, seconds, peak_bytes = json.loads(facts.read_text())
            return Sample(settings, told, seconds, peak_bytes)

    return given


@pytest.fixture
def sample(shared: Path, backend: str, sample_of: Callable[[str], Sample]) -> Sample:
    del shared
    return sample_of(backend)


@pytest.fixture
async def sample_database(sample: Sample, anyio_backend: str) -> AsyncIterator[Database]:
    del anyio_backend
    database = Database(sample.settings)
    yield database
    await database.close()


def _sample_settings(request: pytest.FixtureRequest, folder: Path, backend: str, run: str) -> Settings:
    if backend == "sqlite":
        return _settings(folder)
    return _settings(folder, database_url=f"{request.getfixturevalue('postgres_url')}/sample_{run}")


def _create(request: pytest.FixtureRequest, settings: Settings, backend: str) -> None:
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), settings.data_dir / "library.db")
        return
    assert settings.database_url
    url, _, name = settings.database_url.get_secret_value().rpartition("/")
    template = request.getfixturevalue("postgres_template")
    asyncio.run(_administer(url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))


def _sample_file(request: pytest.FixtureRequest) -> Path:
    shared: Path = request.config.rootpath.parent / "shared"
    return shared / "data" / SAMPLE
