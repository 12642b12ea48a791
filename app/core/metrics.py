"""The metrics: names of product.md §1, right in one process and in many.

With several processes PROMETHEUS_MULTIPROC_DIR must be set, exist and be empty before this module is imported
(`library serve` sees to it); a scrape then reads all processes' files through a registry of its own.
"""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event

LATENCY_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
UNMATCHED: Final = "(unmatched)"
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST

http_requests_total = Counter("http_requests_total", "Requests answered", ["method", "endpoint", "status"])
http_request_duration_seconds = Histogram(
    "http_request_duration_seconds", "Time from request to last byte", ["method", "endpoint"], buckets=LATENCY_BUCKETS
)
http_requests_in_progress = Gauge(
    "http_requests_in_progress", "Requests being answered", ["method", "endpoint"], multiprocess_mode="livesum"
)
books_created_total = Counter("books_created_total", "Books added to the catalogue")
users_registered_total = Counter("users_registered_total", "Accounts made")
bookings_created_total = Counter("bookings_created_total", "Bookings placed")
loans_created_total = Counter("loans_created_total", "Copies lent")
returns_total = Counter("returns_total", "Copies returned")
renewals_total = Counter("renewals_total", "Loans renewed")
db_query_duration_seconds = Histogram(
    "db_query_duration_seconds", "Time of a statement, by kind", ["query_type"], buckets=LATENCY_BUCKETS
)
db_connections = Gauge("db_connections", "Database connections in use", multiprocess_mode="livesum")

_QUERY_TYPES: Final = frozenset({"select", "insert", "update", "delete", "begin", "with"})


class JobFigures(Protocol):
    """What the database knows of a job's runs, whichever process ran it."""

    name: Any
    last_success_at: Any
    duration_seconds: Any
    totals: Any


def exposition(jobs: Iterable[JobFigures] = ()) -> bytes:
    """All metrics in Prometheus' text format; of all processes where there are several."""
    of_jobs = CollectorRegistry()
    of_jobs.register(_Jobs(jobs))
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(of_jobs)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs has no types
    return generate_latest(registry) + generate_latest(of_jobs)


def forget_process(pid: int) -> None:
    """Take out of the gauges what a process that has ended held; its counters stay."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # theirs has no types


def observe_engine(engine: Engine) -> None:
    """Measure every statement of the engine and count the connections in use."""
    event.listen(engine, "before_cursor_execute", _note_start)
    event.listen(engine, "after_cursor_execute", _record_duration)
    event.listen(engine, "checkout", lambda *_: db_connections.inc())
    event.listen(engine, "checkin", lambda *_: db_connections.dec())


class _Jobs(Collector):
    """The metrics that come from the table of job runs."""

    def __init__(self, jobs: Iterable[JobFigures]) -> None:
        self._jobs = list(jobs)

    def collect(self) -> Iterator[Metric]:
        success = GaugeMetricFamily("job_last_success_timestamp_seconds", "When a job last succeeded", labels=["job"])
        duration = GaugeMetricFamily("job_duration_seconds", "How long a job's last run took", labels=["job"])
        notices = CounterMetricFamily(
            "notices_sent_total", "Notices by kind and what became of them", labels=["kind", "result"]
        )
        for job in self._jobs:
            if job.last_success_at is not None:
                success.add_metric([job.name], job.last_success_at.timestamp())
            if job.duration_seconds is not None:
                duration.add_metric([job.name], job.duration_seconds)
            if job.name == "send_notices":
                for outcome, count in job.totals.items():
                    notices.add_metric(outcome.split(" "), count)
        yield from (success, duration, notices)


def _note_start(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: Any) -> None:
    if context is not None:
        context.started = time.perf_counter()


def _record_duration(
    _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any
) -> None:  # SQLAlchemy's signature
    started = getattr(context, "started", None)
    if started is None:
        return
    word = statement.split(None, 1)[0].lower()
    query_type = word if word in _QUERY_TYPES else "other"
    db_query_duration_seconds.labels(query_type).observe(time.perf_counter() - started)
