"""Asks whether a release that a lock names has a known hole; `make scan` calls it.

The asking is pip-audit's. Where nobody answers it, behind a mirror that keeps no advisories, it calls everything clean.
So a release with holes that have been known for years goes first: if that is clean, nobody answered.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
KNOWN_BAD: Final = "jinja2==2.10"


def main() -> None:
    """Print what was found, and end with 1 if something was, or if nobody could say."""
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "control.txt"
        control.write_text(f"{KNOWN_BAD}\n", encoding="utf-8")
        if not found(control, "--no-deps"):
            sys.exit(f"No advisories are to be had here: even {KNOWN_BAD} is called clean. Nothing was scanned.")
    locks = sorted(ROOT.glob("requirements*.txt"))
    holes = {line for lock in locks for line in found(lock, "--require-hashes")}
    if holes:
        sys.exit("\n".join(sorted(holes)))
    print(f"{len(locks)} locks, and no known hole in what they name.")


def found(requirements: Path, *options: str) -> list[str]:
    """What pip-audit knows of the releases in the file, a line each.

    Raises:
        SystemExit: it could not ask.
    """
    command = [str(Path(sys.executable).with_name("pip-audit")), "--disable-pip", "--progress-spinner", "off", *options]
    done = subprocess.run(
        [*command, "--format", "json", "--requirement", requirements], capture_output=True, text=True, check=False
    )
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.exit(f"pip-audit could not ask about {requirements.name}:\n{done.stderr}")
    return [
        f"{package['name']} {package['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'none'}"
        for package in told["dependencies"]
        for hole in package.get("vulns", ())
    ]


if __name__ == "__main__":
    main()
