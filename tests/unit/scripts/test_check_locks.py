"""The lock check tells a lock that is behind its requirements from one that isn't."""

import re
import shutil
from pathlib import Path

import pytest

from scripts import check_locks
from tests.house.source import ROOT


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in ROOT.glob("requirements*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(check_locks, "ROOT", tmp_path)
    return tmp_path


def complaints(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        check_locks.main()
    return capsys.readouterr().err


def test_the_locks_of_this_release_are_fresh(locks: Path) -> None:
    del locks
    check_locks.main()


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("requirements.in", "fastapi>=", "fastapi>=1", "pins fastapi"),
        ("requirements.in", "alembic>=", "never-heard-of>=1\nalembic>=", "requirements.txt lacks never-heard-of>=1"),
        ("requirements.in", r"(?m)^structlog.*\n", "", "pins structlog, which nothing needs any more"),
        ("requirements.txt", r"(?m)^mako==", "other==", "lacks mako, which something in it needs"),
        ("requirements.txt", r"(?s)(mako==\S+) .+?\n(?=markdown)", r"\1\n", "pins mako without a hash"),
        ("requirements.txt", r"\A", "--index-url https://example.org/simple\n", "names a host"),
        ("requirements.txt", r"mako==", "mako==0.", "requirements-dev.txt and requirements.txt differ in mako"),
    ],
)
def test_what_make_lock_would_change_is_named(
    locks: Path, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, complaint: str
) -> None:
    text = (locks / file).read_text()
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    (locks / file).write_text(changed)
    assert complaint in complaints(capsys)
