"""What a process loads at its start, and what only when somebody uses it."""

import subprocess
import sys

import pytest

SELDOM = {
    "redis.client",
    "pymarc.marc8",
    "obstore._obstore",
    "webauthn",
    "httpx2",
    "segno.writers",
}


def _loaded(then: str = "") -> set[str]:
    """The modules in a new process that has loaded the service and done something."""
    code = f"import sys, app.main\n{then}\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # our own words
    return set(ended.stdout.split())


def test_what_few_processes_use_is_not_loaded_at_the_start() -> None:
    assert not _loaded() & SELDOM


@pytest.mark.parametrize(
    ("use", "module"),
    [
        ("from app.core.loading import redis; redis.RedisError", "redis.client"),
        ("from app.auth import ceremony; ceremony.webauthn", "webauthn"),
        ("from app.imports import lookup; lookup.AsyncClient", "httpx2"),
    ],
)
def test_it_is_loaded_when_it_is_used(use: str, module: str) -> None:
    assert module in _loaded(use)
