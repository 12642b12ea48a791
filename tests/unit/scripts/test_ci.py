"""In CI a test that is skipped counts as failed, wherever it says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT

SKIPPING = {
    "in its body": "import pytest\ndef test_it_holds(): pytest.skip('no server')\n",
    "by a mark": "import pytest\n@pytest.mark.skip(reason='no server')\ndef test_it_holds(): ...\n",
    "as a module": "import pytest\npytest.skip('no server', allow_module_level=True)\n",
}


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.ci", "-p", "no:cacheprovider", *options, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
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
