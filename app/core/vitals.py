"""The machine's and the process's state, looked at in the background so that no scrape waits for it.

In a container with limits of its own, processor, memory and disk are the container's.
"""

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
from app.core.container import Container
from app.core.tasks import end

LOOK_SECONDS: Final = 5.0
NAP_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Disk:
    used_bytes: int
    free_bytes: int


@dataclass(slots=True)
class Vitals:
    """What was seen at the last look."""

    container: Container = field(default_factory=Container)
    cpu_percent: float = 0.0
    memory_used_bytes: int = 0
    memory_limit_bytes: int = 0
    disks: Mapping[str, Disk] = field(default_factory=dict)
    _cpu_seconds_at: tuple[float, float] | None = field(default=None, init=False)

    def look(self, data_dir: Path) -> None:
        """Takes a third of a millisecond; a thread would cost more."""
        of_container, of_machine = self._container_cpu_percent(), psutil.cpu_percent()
        self.cpu_percent = of_machine if of_container is None else of_container
        memory = psutil.virtual_memory()
        self.memory_used_bytes, self.memory_limit_bytes = memory.total - memory.available, memory.total
        limit_bytes = self.container.memory_limit_bytes()
        if limit_bytes is not None and limit_bytes < memory.total:
            self.memory_used_bytes = self.container.memory_used_bytes() or 0
            self.memory_limit_bytes = limit_bytes
        self.disks = {place: _disk(place) for place in {"/", _mountpoint(data_dir)}}

    def disk_io_bytes(self) -> Mapping[str, int]:
        """Looked up now, as the next: each process has looked at another moment, and a counter must not go back."""
        if (counted := self.container.disk_io_bytes()) is not None:
            return counted
        if disks := psutil.disk_io_counters(nowrap=False):
            return {"read": disks.read_bytes, "write": disks.write_bytes}
        return {}

    def network_bytes(self) -> Mapping[tuple[str, str], int]:
        """By interface and direction: a sum would go back when an interface goes. Those of containers come and go."""
        seen = psutil.net_io_counters(pernic=True, nowrap=False)
        received = {(name, "receive"): counted.bytes_recv for name, counted in seen.items()}
        sent = {(name, "transmit"): counted.bytes_sent for name, counted in seen.items()}
        return {each: count for each, count in (received | sent).items() if not each[0].startswith("veth")}

    def _container_cpu_percent(self) -> float | None:
        """Since the last look; of what the container may use."""
        cores, seconds, now = self.container.cores(), self.container.cpu_seconds(), perf_counter()
        before, self._cpu_seconds_at = self._cpu_seconds_at, None if seconds is None else (seconds, now)
        if cores is None or seconds is None or before is None:
            return None
        return 100 * (seconds - before[0]) / ((now - before[1]) * cores)


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
    vitals.look(data_dir)
    metrics.workers_memory_bytes.set(psutil.Process().memory_info().rss)


def _disk(mountpoint: str) -> Disk:
    usage = psutil.disk_usage(mountpoint)
    return Disk(usage.used, usage.free)


def _mountpoint(path: Path) -> str:
    place = path.absolute()
    while not os.path.ismount(place):
        place = place.parent
    return str(place)
