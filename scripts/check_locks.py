"""Checks, without a network, that requirements*.txt are what `make lock` would make of requirements*.in."""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
INSTALLED: Final = ("requirements", "requirements-dev")
SUBSETS: Final = ("requirements", "requirements-gunicorn")
LOCKS: Final = (
    *SUBSETS, "requirements-dev", "requirements-assets", "requirements-deploy", "requirements-provider",
    "requirements-stack", "requirements-bench",
)  # fmt: skip
ENTRY: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?")


@dataclass(frozen=True)
class Pin:
    version: str
    is_hashed: bool
    is_for_this_machine: bool


def main() -> None:
    """Print every way in which a lock is not what it should be; exit with 1 if there is one."""
    found = [problem for name in LOCKS for problem in _problems(name)]
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        print("`make lock` writes the locks anew.", file=sys.stderr)
        sys.exit(1)


def _problems(name: str) -> Iterator[str]:
    text = (ROOT / f"{name}.txt").read_text()
    wanted, pins = list(_requirements(name)), _pins(text)
    if "://" in text:
        yield f"{name}.txt names a host"
    yield from (f"{name}.txt pins {locked} without a hash" for locked, pin in pins.items() if not pin.is_hashed)
    for requirement in wanted:
        pinned = pins.get(canonicalize_name(requirement.name))
        if pinned is None:
            yield f"{name}.txt lacks {requirement}"
        elif not requirement.specifier.contains(pinned.version, prereleases=True):
            yield f"{name}.txt pins {requirement.name} {pinned.version}, but {name}.in asks for {requirement}"
    if name in INSTALLED:
        yield from _differences(name, wanted, pins)
    if name in {"requirements-dev", "requirements-bench"}:
        for part in SUBSETS if name == "requirements-dev" else SUBSETS[:1]:
            of_part = _pins((ROOT / f"{part}.txt").read_text())
            yield from (f"{name}.txt and {part}.txt differ in {n}" for n, p in of_part.items() if pins.get(n) != p)


def _requirements(name: str) -> Iterator[Requirement]:
    for line in (ROOT / f"{name}.in").read_text().splitlines():
        entry = line.partition("#")[0].strip()
        if entry.startswith("-r "):
            yield from _requirements(entry.removeprefix("-r ").removesuffix(".in"))
        elif entry:
            yield Requirement(entry)


def _pins(text: str) -> dict[str, Pin]:
    pins: dict[str, Pin] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        head, _, hashes = entry.partition(" --hash=")
        match = ENTRY.fullmatch(re.sub(r"\s+", " ", head).strip())
        if match is None:
            continue
        is_here = Marker(match["marker"]).evaluate() if match["marker"] else True
        pins[canonicalize_name(match["name"])] = Pin(match["version"], bool(hashes), is_here)
    return pins


def _differences(name: str, wanted: Iterable[Requirement], pins: dict[str, Pin]) -> Iterator[str]:
    """What is needed but not pinned and the other way round, as far as this machine can tell."""
    needed = _closure(wanted)
    here = {locked for locked, pin in pins.items() if pin.is_for_this_machine}
    for missing in sorted(needed - here):
        yield f"{name}.txt lacks {missing}, which something in it needs"
    for needless in sorted(here - needed):
        yield f"{name}.txt pins {needless}, which nothing needs any more"
    for locked in sorted(needed & here):
        installed, pinned = _installed(locked), pins[locked].version
        if installed != pinned:
            yield f"{name}.txt pins {locked} {pinned}, but {installed or 'none'} is installed (make setup-dev)"


def _closure(wanted: Iterable[Requirement]) -> set[str]:
    """Names of everything that the requirements need, read from what is installed."""
    queue = [(canonicalize_name(r.name), extra) for r in wanted if _applies(r, "") for extra in ("", *r.extras)]
    seen = set(queue)
    while queue:
        name, extra = queue.pop()
        for text in (metadata.requires(name) or []) if _installed(name) else []:
            needed = Requirement(text)
            if not _applies(needed, extra):
                continue
            for item in ((canonicalize_name(needed.name), e) for e in ("", *needed.extras)):
                if item not in seen:
                    seen.add(item)
                    queue.append(item)
    return {name for name, _ in seen}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


if __name__ == "__main__":
    main()
