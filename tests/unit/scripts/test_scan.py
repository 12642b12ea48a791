"""`make scan` says what pip-audit found, and never "clean" where nobody answered it."""

import json
import sys
from pathlib import Path

import pytest

from scripts import scan

HOLE = {"id": "CVE-2019-10906", "fix_versions": ["2.10.1"]}
# Knows these releases, and nothing of any other.
AUDIT = """#!{python}
import json, re, sys
known = {known}
pins = re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\n]+)", open(sys.argv[-1]).read(), re.MULTILINE)
print(json.dumps({{"dependencies": [
    {{"name": name, "version": version, "vulns": known.get(name + "==" + version, [])}} for name, version in pins
]}}))
"""


@pytest.fixture
def knowing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of locks; the pip-audit that is asked stands beside the Python that asks."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr(scan, "ROOT", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "requirements.txt").write_text("starlette==1.0.0 \\\n    --hash=sha256:00\n")
    return tmp_path


def knows(folder: Path, known: dict[str, object], program: str = AUDIT) -> None:
    file = folder / "bin" / "pip-audit"
    file.write_text(program.format(python=Path(sys.base_prefix) / "bin" / "python3", known=json.dumps(known)))
    file.chmod(0o755)


def test_nobody_who_answers_is_not_clean(knowing: Path) -> None:
    knows(knowing, {})
    with pytest.raises(SystemExit, match=r"No advisories are to be had here.*Nothing was scanned"):
        scan.main()


def test_a_hole_is_told_with_the_release_that_mends_it(knowing: Path) -> None:
    knows(knowing, {scan.KNOWN_BAD: [HOLE], "starlette==1.0.0": [{"id": "PYSEC-1", "fix_versions": ["1.0.1"]}]})
    with pytest.raises(SystemExit, match=r"^starlette 1\.0\.0: PYSEC-1, mended in 1\.0\.1$"):
        scan.main()


def test_no_hole_is_said_where_holes_are_known(knowing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    knows(knowing, {scan.KNOWN_BAD: [HOLE]})
    scan.main()
    assert capsys.readouterr().out == "1 locks, and no known hole in what they name.\n"


def test_an_audit_that_breaks_off_fails(knowing: Path) -> None:
    knows(knowing, {}, "#!/bin/sh\necho no network >&2; exit 1 # {python} {known}\n")
    with pytest.raises(SystemExit, match=r"could not ask about control\.txt:\nno network"):
        scan.main()
