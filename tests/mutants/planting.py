"""Planting a bug in a copy of the code and running the tests that must notice it."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 300


# The plain stories first, which are quick, then the machine, which finds what nobody thought of.
CIRCULATION = " ".join(
    f"tests/integration/{name}"
    for name in (
        "api/test_circulation.py",
        "api/test_desk.py",
        "races/test_places.py",
        "races/test_undo.py",
        "races/test_locks.py",
        "jobs/test_circulation.py",
        "races/test_machine.py",
    )
)


@dataclass(frozen=True)
class Mutant:
    """`right` stands once in the file and becomes `wrong`; the tests in `noticed_by` must fail then."""

    file: str
    right: str
    wrong: str
    noticed_by: str = CIRCULATION


def seed_of(config: pytest.Config) -> int:
    return int(os.environ.get("SEED") or config.getoption("randomly_seed", 1))


def chosen(names: Iterable[str], count: int, config: pytest.Config) -> list[str]:
    """So many of them at random, by SEED, or by pytest's own seed, which is the same in CI; FULL=1 takes all."""
    listed = sorted(names)
    return listed if os.environ.get("FULL") else sorted(random.Random(seed_of(config)).sample(listed, count))


def plant(mutant: Mutant, folder: Path) -> None:
    """Copy what tests need into a folder, with the bug in it."""
    for name in ("app", "alembic", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    for name in ("pyproject.toml", "alembic.ini"):
        shutil.copy(ROOT / name, folder)
    path = folder / mutant.file
    path.write_text(path.read_text(encoding="utf-8").replace(mutant.right, mutant.wrong), encoding="utf-8")


def stands_once(mutant: Mutant) -> bool:
    """Whether the code is still what the bug was written for."""
    return (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.right) == 1


def noticed(mutant: Mutant, folder: Path, postgres_url: str, *options: str) -> str:
    """Run the tests on the planted copy; why the bug was not noticed, or nothing."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:randomly", *options, *mutant.noticed_by.split()]
    environment = os.environ | {"TEST_POSTGRES_URL": postgres_url, "PYTEST_DEBUG_TEMPROOT": str(folder)}
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    if ended.returncode == 1 and "1 failed" in ended.stdout:
        return ""
    return f"pytest ended with {ended.returncode}:\n{ended.stdout[-2_000:]}"
