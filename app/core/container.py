"""The container that we run in, by its control group (version 2): what it may use and what it has used."""

from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
UNLIMITED: Final = "max"


class Container:
    """Each figure is None where there is no container, or its group doesn't count that."""

    def __init__(self, folder: Path = CGROUP) -> None:
        self._folder = folder
        # The machine's own group has no type. Source: the kernel's Control Group v2, Core Interface Files.
        self._is_there = (folder / "cgroup.type").exists()

    def cores(self) -> float | None:
        """How much processor time it may use in a second."""
        quota, _, period = self._text("cpu.max").partition(" ")
        return int(quota) / int(period) if period and quota != UNLIMITED else None

    def cpu_seconds(self) -> float | None:
        used = self._fields("cpu.stat").get("usage_usec")
        return None if used is None else used / 1e6

    def memory_limit_bytes(self) -> int | None:
        limit = self._text("memory.max")
        return int(limit) if limit.isdigit() else None

    def memory_used_bytes(self) -> int | None:
        """Without the pages of files that the kernel would give up before it kills anything."""
        used = self._text("memory.current")
        return int(used) - self._fields("memory.stat").get("inactive_file", 0) if used else None

    def disk_io_bytes(self) -> dict[str, int] | None:
        if not (self._is_there and (self._folder / "io.stat").exists()):
            return None
        counts = [field.partition("=") for field in self._text("io.stat").split()]
        return {
            direction: sum(int(count) for name, _, count in counts if name == f"{direction[0]}bytes")
            for direction in ("read", "write")
        }

    def _fields(self, name: str) -> dict[str, int]:
        pairs = [line.split() for line in self._text(name).splitlines()]
        return {key: int(value) for key, value in pairs}

    def _text(self, name: str) -> str:
        """The file's text; nothing without the file."""
        if not self._is_there:
            return ""
        try:
            return (self._folder / name).read_text(encoding="ascii").strip()
        except OSError:
            return ""
