"""The `library` command as a process of its own, with the settings of a test."""

import os
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from app.core.config import Settings

ROOT = Path(__file__).resolve().parents[1]


def environment(settings: Settings) -> dict[str, str]:
    """What a process must find in its environment to have these settings."""
    values = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is None:
            continue
        values[name.upper()] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | values


def start(settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
    """Begin `library …`; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *arguments],
        env=environment(settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(settings: Settings, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `library …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=environment(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
