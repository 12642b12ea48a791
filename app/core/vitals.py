"""The machine's and the process's state, looked at in the background so that no scrape waits for it."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

import psutil

from app.core import metrics
from app.core.config import Settings
from app.core.tasks import end

LOOK_SECONDS: Final = 5.0
NAP_SECONDS: Final = 0.5
CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Disk:
    used_bytes: int
    free_bytes: int


@dataclass(slots=True)
class Vitals:
    """What was seen at the last look. Memory is the container's where that has a limit of its own."""

    cpu_percent: float = 0.0
    memory_used_bytes: int = 0
    memory_limit_bytes: int = 0
    disks: Mapping[str, Disk] = field(default_factory=dict)
    disk_io_bytes: Mapping[str, int] = field(default_factory=dict)
    network_bytes: Mapping[str, int] = field(default_factory=dict)


@asynccontextmanager
async def watched(vitals: Vitals, settings: Settings) -> AsyncIterator[None]:
    """Keep `vitals` and the metrics of this process fresh, and measure how late the event loop is."""
    _look(vitals, settings.data_dir)
    metrics.workers.set(1)
    tasks = [asyncio.create_task(_keep_looking(vitals, settings.data_dir)), asyncio.create_task(_feel_lag())]
    try:
        yield
    finally:
        await end(*tasks)
        metrics.workers.set(0)


async def _keep_looking(vitals: Vitals, data_dir: Path) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        _look(vitals, data_dir)


async def _feel_lag() -> None:
    while True:
        lay_down = perf_counter()
        await asyncio.sleep(NAP_SECONDS)
        metrics.event_loop_lag_seconds.observe(max(0.0, perf_counter() - lay_down - NAP_SECONDS))


def _look(vitals: Vitals, data_dir: Path) -> None:
    """Takes a third of a millisecond; a thread would cost more."""
    vitals.cpu_percent = psutil.cpu_percent()
    memory = psutil.virtual_memory()
    vitals.memory_used_bytes, vitals.memory_limit_bytes = memory.total - memory.available, memory.total
    limit_bytes = _number(CGROUP / "memory.max")
    if limit_bytes is not None and limit_bytes < memory.total:
        vitals.memory_used_bytes = _number(CGROUP / "memory.current") or 0
        vitals.memory_limit_bytes = limit_bytes
    vitals.disks = {place: _disk(place) for place in {"/", _mountpoint(data_dir)}}
    if disks := psutil.disk_io_counters():
        vitals.disk_io_bytes = {"read": disks.read_bytes, "write": disks.write_bytes}
    if network := psutil.net_io_counters():
        vitals.network_bytes = {"receive": network.bytes_recv, "transmit": network.bytes_sent}
    metrics.workers_memory_bytes.set(psutil.Process().memory_info().rss)


def _disk(mountpoint: str) -> Disk:
    usage = psutil.disk_usage(mountpoint)
    return Disk(usage.used, usage.free)


def _mountpoint(path: Path) -> str:
    place = path.absolute()
    while not os.path.ismount(place):
        place = place.parent
    return str(place)


def _number(file: Path) -> int | None:
    """The number in a control group's file; none without the file, or if it says `max`."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
