"""The tests' own plugin: what is skipped counts as failed in CI, and what is ended from outside leaves nothing."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.house.source import ROOT

PYTEST = [sys.executable, "-m", "pytest", "-p", "tests.ci", "-p", "no:cacheprovider"]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PATH": ""}
SKIPPING = {
    "in its body": "import pytest\ndef test_it_holds(): pytest.skip('no server')\n",
    "by a mark": "import pytest\n@pytest.mark.skip(reason='no server')\ndef test_it_holds(): ...\n",
    "as a module": "import pytest\npytest.skip('no server', allow_module_level=True)\n",
}

WAITING = """import pathlib, time, pytest
@pytest.fixture(scope="session")
def server():
    pathlib.Path("started").touch()
    yield
    pathlib.Path("ended").touch()
def test_it_waits(server): time.sleep(60)
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTEST, *options, str(folder)], check=False, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT
    )


@pytest.mark.parametrize("text", SKIPPING.values(), ids=SKIPPING)
def test_a_skipped_test_fails_the_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "test_sample.py").write_text(text + "def test_another_one_passes(): ...\n")
    tolerant, strict = run(tmp_path), run(tmp_path, "--no-skips")
    assert "1 skipped" in tolerant.stdout
    assert strict.returncode != 0
    assert "skipped" not in strict.stdout.splitlines()[-1]
    assert "no server" in strict.stdout
    assert "In CI nothing may be skipped" in strict.stdout


def test_a_run_that_is_ended_from_outside_ends_its_servers(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(WAITING)
    ended = subprocess.Popen([*PYTEST, str(tmp_path)], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    ended.send_signal(signal.SIGTERM)
    assert ended.wait(30) == pytest.ExitCode.INTERRUPTED
    assert (tmp_path / "ended").exists()
