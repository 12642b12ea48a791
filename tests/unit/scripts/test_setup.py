"""Setting up says in one sentence what is missing, and does nothing twice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT

INPUTS = ("scripts/setup.sh", "pyproject.toml", "requirements.in", "requirements.txt", "requirements-dev.txt")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what set-up reads, and no virtual environment."""
    for name in INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def set_up(checkout: Path, *, python: Path | str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "scripts" / "setup.sh"), "run"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": str(python)},
    )


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_machine_without_a_recent_python_is_told_what_to_install(checkout: Path) -> None:
    old = executable(checkout / "old-python", "exit 1")
    result = set_up(checkout, python=old)
    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr
    assert "apt install python3" in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_without_its_venv_module_names_the_package(checkout: Path) -> None:
    """Debian keeps ensurepip apart."""
    bare = executable(
        checkout / "bare-python", f'case "$*" in *ensurepip*|*virtualenv*) exit 1 ;; esac; exec {sys.executable} "$@"'
    )
    result = set_up(checkout, python=bare)
    assert result.returncode == 1
    assert "apt install python3-venv" in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_linked_environment_is_left_alone(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    mine = tmp_path_factory.mktemp("mine")
    (checkout / ".venv").symlink_to(mine)
    result = set_up(checkout)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(mine.iterdir()) == []


def test_a_half_made_environment_is_made_anew(checkout: Path) -> None:
    """`pip` of the new one only says what it was asked: the real one would need a network."""
    executable(checkout / ".venv" / "bin" / "pip", "exit 1")
    (checkout / ".venv" / "left-over").touch()
    maker = executable(
        checkout / "python",
        'case "$2" in\n'
        "venv) mkdir -p .venv/bin; for name in pip python library; do\n"
        "  printf '#!/bin/sh\\necho \"$0 $*\" >>calls\\n' >.venv/bin/$name; chmod +x .venv/bin/$name; done ;;\n"
        "esac",
    )
    result = set_up(checkout, python=maker)
    assert result.returncode == 0, result.stderr
    assert not (checkout / ".venv" / "left-over").exists()
    calls = (checkout / "calls").read_text()
    assert "pip install --require-hashes --requirement requirements.txt" in calls
    assert "pip install --no-deps --no-build-isolation --editable ." in calls

    again = set_up(checkout, python=maker)
    assert (again.returncode, again.stdout) == (0, "")
    assert (checkout / "calls").read_text().count("pip install") == 2

    with (checkout / "requirements.txt").open("a") as lock:
        lock.write("# another lock\n")
    assert "Installing" in set_up(checkout, python=maker).stdout


def servers(path: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more} | ({"PATH": path} if path else {})
    return subprocess.run(
        [str(ROOT / "scripts" / "setup-servers.sh")], check=False, capture_output=True, text=True, env=environment
    )


def test_nothing_is_installed_when_the_servers_are_there() -> None:
    result = servers()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_system_without_debians_packages_is_told_what_the_tests_need(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "id", "tr"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    result = servers(str(tmp_path))
    assert result.returncode == 1
    assert "redis-server" in result.stderr
    assert "no Debian or Ubuntu" in result.stderr
    assert "Installing" not in result.stdout
