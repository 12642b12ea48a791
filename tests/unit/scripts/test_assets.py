"""Third-party scripts arrive whole and checked, or not at all."""

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scripts import assets
from tests.house.source import ROOT
from tests.unit.scripts.test_setup import executable


def archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def package(packed: bytes, *files: str) -> assets.Package:
    digest = base64.b64encode(hashlib.sha512(packed).digest()).decode()
    return assets.Package("something", "1.0.0", digest, files)


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the scripts go, and an npm that packs what stands in `packed`."""
    executable(tmp_path / "bin" / "npm", f"cp {tmp_path}/packed something-1.0.0.tgz")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    monkeypatch.setattr(assets, "VENDOR", tmp_path / "vendor")
    return tmp_path / "vendor"


def bring(vendor: Path, packed: bytes, wanted: assets.Package, monkeypatch: pytest.MonkeyPatch) -> None:
    (vendor.parent / "packed").write_bytes(packed)
    monkeypatch.setattr(assets, "PACKAGES", (wanted,))
    assets.main()


def test_only_the_listed_files_are_taken(vendor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive({"dist/a.js": "one", "LICENSE": "free", "evil.js": "no"})
    bring(vendor, packed, package(packed, "dist/a.js", "LICENSE"), monkeypatch)
    assert sorted(path.name for path in (vendor / "something").iterdir()) == [".installed", "LICENSE", "a.js"]
    assert (vendor / "something" / "a.js").read_text() == "one"


def test_an_archive_with_another_digest_is_refused_and_the_old_one_stays(
    vendor: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = archive({"a.js": "one"})
    bring(vendor, good, package(good, "a.js"), monkeypatch)
    wanted = package(archive({"a.js": "two"}), "a.js")
    bring(vendor, archive({"a.js": "evil"}), wanted, monkeypatch)
    assert "not what was reviewed" in capsys.readouterr().err
    assert (vendor / "something" / "a.js").read_text() == "one"
    assert [path.name for path in vendor.iterdir()] == ["something"]


def test_a_newer_release_replaces_the_older_and_a_lost_file_is_fetched_again(
    vendor: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = archive({"a.js": "one", "b.js": "b"}), archive({"a.js": "two"})
    bring(vendor, old, package(old, "a.js", "b.js"), monkeypatch)
    bring(vendor, new, package(new, "a.js"), monkeypatch)
    assert not (vendor / "something" / "b.js").exists()
    assert (vendor / "something" / "a.js").read_text() == "two"
    (vendor / "something" / "a.js").unlink()
    bring(vendor, new, package(new, "a.js"), monkeypatch)
    assert (vendor / "something" / "a.js").exists()
    capsys.readouterr()
    bring(vendor, new, package(new, "a.js"), monkeypatch)
    assert not capsys.readouterr().out


def test_a_file_that_the_archive_lacks_is_named(
    vendor: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = archive({"a.js": "one"})
    bring(vendor, packed, package(packed, "b.js"), monkeypatch)
    assert "holds no file b.js" in capsys.readouterr().err


def test_without_npm_and_without_a_network_the_rest_goes_on(tmp_path: Path) -> None:
    """As on an offline machine: pip, asked for Node.js, finds no index."""
    program = (
        "import pathlib, sys; from scripts import assets;"
        "assets.VENDOR, assets.NODE = pathlib.Path(sys.argv[1], 'vendor'), pathlib.Path(sys.argv[1], 'node');"
        "assets.main()"
    )
    offline = {"PATH": "", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=offline,
    )
    assert result.returncode == 0
    assert "Going on without them" in result.stderr
    assert "`make assets` tries again" in result.stderr
