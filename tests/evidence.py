"""Evidence: figures that a test saw, printed and kept in build/evidence/GOAL.json for whoever asks how it went."""

import fcntl
import json
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "build" / "evidence"


def keep(goal: str, backend: str, **figures: Any) -> None:
    """Print the figures and put them under `backend` in the goal's file, beside what other tests keep there.

    A goal with a bound gives `value` and `limit`, one with chance in it `seed`, all the `size` they were seen with;
    the commit is added.
    """
    told = ", ".join(f"{name} {value}" for name, value in figures.items())
    print(f"{goal} on {backend}: {told}")  # noqa: T201  # so that a run shows them
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{goal}.json").open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = json.loads(file.read() or "{}")
        kept.setdefault(backend, {}).update(figures | {"commit": _commit()})
        file.seek(0)
        file.truncate()
        json.dump(kept, file, indent=2, sort_keys=True, ensure_ascii=False)


def _commit() -> str:
    command = ["git", "-C", str(FOLDER.parent.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
