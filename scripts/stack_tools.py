"""Installs what grades the stack from outside, each from its own lock: Mozilla's Observatory (npm) and sslyze (PyPI).

Both go below .make, since sslyze asks for an older cryptography than the service has. Done again when a lock changes.
"""

import hashlib
import shutil
import subprocess
import sys
from typing import Final

from scripts import assets

ROOT: Final = assets.ROOT
OBSERVATORY: Final = ROOT / ".make" / "observatory"
SSLYZE: Final = ROOT / ".make" / "sslyze"
_MANIFEST: Final = ROOT / "tests" / "integration" / "stack" / "observatory"
_LOCK: Final = ROOT / "requirements-stack.txt"


def main() -> None:
    """Install what is missing."""
    npm = [*assets.npm(), "ci", "--loglevel=error", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(_LOCK)]
    for folder, lock, command in (
        (OBSERVATORY, _MANIFEST / "package-lock.json", npm),
        (SSLYZE, _LOCK, [*pip, "--target", str(SSLYZE)]),
    ):
        stamp, digest = folder / ".installed", hashlib.sha256(lock.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json") if folder == OBSERVATORY else ():
            shutil.copy(_MANIFEST / name, folder)
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{folder.name} can't be installed from {lock.name}:\n{done.stderr}")
        stamp.write_text(digest)
    # Browsers' list of hosts that are only asked over TLS, which the grader would fetch; the stack's is not on it.
    (OBSERVATORY / "node_modules" / "@mdn" / "mdn-http-observatory" / "conf" / "hsts-preload.json").write_text("{}")


if __name__ == "__main__":
    main()
