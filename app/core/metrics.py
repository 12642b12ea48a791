"""The metrics: names of product.md §1, right in one process and in many.

With several processes PROMETHEUS_MULTIPROC_DIR must be set, exist and be empty before this module is imported
(`library serve` sees to it); a scrape then reads all processes' files.
"""

import functools
import os
import time
from collections.abc import Iterable
from typing import Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from app.core.exposition import MEMORY, Exposition, Files, InMemory

# 5 ms and 250 ms are borders: docs/slo.md promises by them.
LATENCY_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
UNMATCHED: Final = "(unmatched)"
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
SHARED_FOLDER: Final = os.environ.get("PROMETHEUS_MULTIPROC_DIR")

if not SHARED_FOLDER:
    values.ValueClass = InMemory
_shared: Final = Exposition(Files(SHARED_FOLDER) if SHARED_FOLDER else list(MEMORY.values()))

http_requests_total = Counter("http_requests_total", "Requests answered", ["method", "endpoint", "status"])
http_request_duration_seconds = Histogram(
    "http_request_duration_seconds", "Time from request to last byte", ["method", "endpoint"], buckets=LATENCY_BUCKETS
)
http_requests_in_progress = Gauge(
    "http_requests_in_progress", "Requests being answered", ["method", "endpoint"], multiprocess_mode="livesum"
)
books_created_total = Counter("books_created_total", "Books added to the catalogue")
users_registered_total = Counter("users_registered_total", "Accounts made")
searches_total = Counter("searches_total", "Searches of the catalogue that were answered")
bookings_created_total = Counter("bookings_created_total", "Bookings placed")
loans_created_total = Counter("loans_created_total", "Copies lent")
returns_total = Counter("returns_total", "Copies returned")
renewals_total = Counter("renewals_total", "Loans renewed")
ledger_minor_total = Counter("ledger_minor_total", "Money by kind of entry, in minor units of CURRENCY", ["kind"])
db_query_duration_seconds = Histogram(
    "db_query_duration_seconds", "Time of a statement, by kind", ["query_type"], buckets=LATENCY_BUCKETS
)
db_connections = Gauge("db_connections", "Database connections in use", multiprocess_mode="livesum")
db_connections_limit = Gauge(
    "db_connections_limit", "Database connections that the processes may use", multiprocess_mode="livesum"
)
db_errors_total = Counter("db_errors_total", "Statements and connections that failed, by kind", ["kind"])
breaker_open = Gauge(
    "breaker_open", "1 while a process does without the service that it depends on", ["target"],
    multiprocess_mode="livemax",
)  # fmt: skip
event_loop_lag_seconds = Histogram(
    "event_loop_lag_seconds", "How late the event loop woke a sleeper", buckets=LAG_BUCKETS
)
cache_hits_total = Counter("cache_hits_total", "Answers sent from what was kept")
cache_misses_total = Counter("cache_misses_total", "Answers that were worked out and may be kept")
requests_turned_away_total = Counter(
    "requests_turned_away_total", "Requests that found their lane full, by lane", ["lane"]
)
workers = Gauge("workers", "Processes that answer requests", multiprocess_mode="livesum")
workers_memory_bytes = Gauge("workers_memory_bytes", "Resident memory of these processes", multiprocess_mode="livesum")
log_lines_total = Counter("log_lines_total", "Lines logged, by level", ["level"])

_QUERY_TYPES: Final = frozenset({"select", "insert", "update", "delete", "begin", "with"})
_of_query_type: Final = functools.cache(db_query_duration_seconds.labels)
# A label's first line would otherwise appear with its first event, and a rate over it would miss that event.
for _level in ("debug", "info", "warning", "error", "critical"):
    log_lines_total.labels(_level)
for _kind in ("connection", "constraint", "other"):
    db_errors_total.labels(_kind)
for _kind in ("charge", "payment", "waiver", "refund", "reversal"):
    ledger_minor_total.labels(_kind)


class Route:
    """The metrics of one method and route; finding a label's child by name costs more than adding to it."""

    def __init__(self, method: str, endpoint: str) -> None:
        self.in_progress = http_requests_in_progress.labels(method, endpoint)
        self._duration = http_request_duration_seconds.labels(method, endpoint)
        self._requests = functools.cache(lambda status: http_requests_total.labels(method, endpoint, str(status)))

    def answered(self, status: int, seconds: float) -> None:
        self._requests(status).inc()
        self._duration.observe(seconds)


# Bounded: the method is one of eight, the endpoint a template.
route: Final = functools.cache(Route)
log_lines: Final = functools.cache(log_lines_total.labels)
turned_away: Final = functools.cache(requests_turned_away_total.labels)


def exposition(collectors: Iterable[Collector] = ()) -> bytes:
    """All metrics in Prometheus' text format, of all processes where there are several; then those given."""
    given = CollectorRegistry()
    for collector in collectors:
        given.register(collector)
    return _shared.text() + generate_latest(given)


def forget_process(pid: int) -> None:
    """Take out of the gauges what a process that has ended held; its counters stay."""
    if SHARED_FOLDER:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # theirs has no types


def record_query(word: str, seconds: float) -> None:
    """Note a statement by its first word, in lower case, and how long it took."""
    _of_query_type(word if word in _QUERY_TYPES else "other").observe(seconds)


def count_query_error(name: str) -> None:
    """Count a statement that failed, by SQLAlchemy's name for it, or "connection"."""
    kinds = {"IntegrityError": "constraint", "InterfaceError": "connection", "connection": "connection"}
    db_errors_total.labels(kinds.get(name, "other")).inc()


def observe_engine(engine: Engine) -> None:
    """Measure every statement of the engine, count the connections in use and what failed."""
    event.listen(engine, "before_cursor_execute", _note_start)
    event.listen(engine, "after_cursor_execute", _record_duration)
    event.listen(engine, "handle_error", _count_error)
    _count_connections(engine)


def _count_connections(engine: Engine) -> None:
    """A connection whose server went away is given back without ever having been given out."""
    in_use: set[object] = set()

    def take(_connection: Any, record: object, _proxy: Any) -> None:
        in_use.add(record)
        db_connections.inc()

    def give_back(_connection: Any, record: object) -> None:
        if record in in_use:
            in_use.remove(record)
            db_connections.dec()

    event.listen(engine, "checkout", take)
    event.listen(engine, "checkin", give_back)


def _note_start(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: Any) -> None:
    if context is not None:
        context.started = time.perf_counter()


def _record_duration(
    _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any
) -> None:  # SQLAlchemy's signature
    started = getattr(context, "started", None)
    if started is None:
        return
    record_query(statement.split(None, 1)[0].lower(), time.perf_counter() - started)


def _count_error(failure: ExceptionContext) -> None:
    is_lost = failure.connection is None or failure.is_disconnect
    count_query_error("connection" if is_lost else type(failure.sqlalchemy_exception).__name__)
