"""Metrics that no process counts: what the table of job runs says, the machine's state, and the release."""

import platform
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.core.config import Settings
from app.core.job_runs import JobRun
from app.core.vitals import Vitals

# What the job `take_stock` finds, by its names there.
STOCK: Final = {
    "readers_active": "Readers who have a copy or an open booking",
    "loans_open": "Copies with readers",
    "loans_overdue": "Copies that should be back",
    "notices_pending": "Notices that wait to be sent",
    "notices_oldest_seconds": "Age of the oldest notice that waits to be sent",
    "imports_pending": "Uploaded catalogue files that have not been taken in",
    "imports_oldest_seconds": "Age of the oldest such file",
}


class Jobs(Collector):
    """What the table says, whichever process ran a job; `runs` is None if the database could not be asked."""

    def __init__(self, runs: Iterable[JobRun] | None) -> None:
        self._is_up = runs is not None
        self._runs = {run.name: run for run in runs or ()}

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("db_up", "Whether the database answered this scrape", value=self._is_up)
        yield from self._of_runs()
        yield from self._of_totals()
        yield from self._of_stock()

    def _of_runs(self) -> Iterator[Metric]:
        success = GaugeMetricFamily(
            "job_last_success_timestamp_seconds", "When a job last succeeded; 0: never", labels=["name"]
        )
        duration = GaugeMetricFamily("job_duration_seconds", "How long a job's last run took", labels=["name"])
        failed = GaugeMetricFamily("job_failed", "1 if a job's last run could not do all its work", labels=["name"])
        max_age = GaugeMetricFamily(
            "job_max_age_seconds", "How old a job's last success may become before it is missed", labels=["name"]
        )
        for name, run in self._runs.items():
            success.add_metric([name], run.last_success_at.timestamp() if run.last_success_at else 0)
            if run.max_age_seconds is not None:
                max_age.add_metric([name], run.max_age_seconds)
            if run.duration_seconds is not None:
                duration.add_metric([name], run.duration_seconds)
                failed.add_metric([name], run.last_error is not None)
        yield from (success, max_age, duration, failed)

    def _of_totals(self) -> Iterator[Metric]:
        notices = CounterMetricFamily(
            "notices_sent_total", "Notices by kind and what became of them", labels=["kind", "result"]
        )
        if sending := self._runs.get("send_notices"):
            for outcome, count in sending.totals.items():
                notices.add_metric(outcome.split(" "), count)
        yield notices
        if checking := self._runs.get("invariants"):
            found = len(checking.result.get("violations", ()))
            yield GaugeMetricFamily("invariant_violations", "States found that must never be", value=found)

    def _of_stock(self) -> Iterator[Metric]:
        taking = self._runs.get("take_stock")
        stock = taking.result.get("stock") if taking else None
        if not stock:
            return
        for name, meaning in STOCK.items():
            yield GaugeMetricFamily(name, meaning, value=stock[name])
        bookings = GaugeMetricFamily("bookings_open", "Open bookings by status", labels=["status"])
        for name, count in stock.items():
            family, _, status = name.partition(" ")
            if family == "bookings_open":
                bookings.add_metric([status], count)
        yield bookings


class Machine(Collector):
    """The machine and the container, as they were last looked at."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        seen = self._vitals
        yield GaugeMetricFamily(
            "system_cpu_usage_percent",
            "CPU time in use, of all cores or of the container's limit",
            value=seen.cpu_percent,
        )
        yield GaugeMetricFamily("system_memory_usage_bytes", "Memory in use", value=seen.memory_used_bytes)
        yield GaugeMetricFamily(
            "system_memory_limit_bytes", "Memory there is, for the container if it has a limit",
            value=seen.memory_limit_bytes,
        )  # fmt: skip
        used = GaugeMetricFamily("system_disk_usage_bytes", "Disk space in use", labels=["mountpoint"])
        size = GaugeMetricFamily("system_disk_size_bytes", "Disk space that is or can be used", labels=["mountpoint"])
        for mountpoint, disk in seen.disks.items():
            used.add_metric([mountpoint], disk.used_bytes)
            size.add_metric([mountpoint], disk.used_bytes + disk.free_bytes)
        yield from (used, size)
        yield from self._moved()

    def _moved(self) -> Iterator[Metric]:
        disks = CounterMetricFamily(
            "system_disk_io_bytes_total", "Bytes read from and written to disks, by the container or all",
            labels=["direction"],
        )  # fmt: skip
        for direction, count in self._vitals.disk_io_bytes().items():
            disks.add_metric([direction], count)
        network = CounterMetricFamily(
            "system_network_bytes_total", "Bytes received and sent", labels=["interface", "direction"]
        )
        for moved, count in self._vitals.network_bytes().items():
            network.add_metric(moved, count)
        yield from (disks, network)


class Build(Collector):
    """Which release answers."""

    def __init__(self, settings: Settings) -> None:
        self._labels = [settings.version, settings.environment.value, platform.python_version()]

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "library_build_info", "The release that answers, always 1", labels=["version", "environment", "python"]
        )
        info.add_metric(self._labels, 1)
        yield info
