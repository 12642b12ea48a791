"""The dashboards' source: writes grafana/dashboards/*.json from the tables below. Run it after a change."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FOLDER: Final = Path(__file__).resolve().parents[1] / "grafana" / "dashboards"
COLUMNS: Final = 2
WIDTH: Final = 24 // COLUMNS
HEIGHT: Final = 8
OURS: Final = 'job="library"'


class Panel(NamedTuple):
    """A graph: its title, Grafana's name of the unit, and its queries with their legends; `logs` shows lines."""

    title: str
    unit: str
    queries: dict[str, str]
    source: str = "prometheus"
    kind: str = "timeseries"


def _rate(metric: str, by: str = "", where: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{OURS}{where}}}[5m]))"


def _quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'le{by}', where)})"


def _gauge(metric: str) -> str:
    return f"{metric}{{{OURS}}}"


def _told(metric: str, by: str = "") -> str:
    """What every container reads from the same table: once."""
    grouped = f" by ({by})" if by else ""
    return f"max{grouped} ({_gauge(metric)})"


def _quantiles(metric: str) -> dict[str, str]:
    return {f"p{share * 100:g}": _quantile(share, metric) for share in (0.5, 0.95, 0.99)}


_FAILED: Final = ',status=~"5.."'
_COMPLAINTS: Final = f"""{_rate("http_requests_total", "status, endpoint", ',status=~"[45].."')} or vector(0)"""
_ERRORS: Final = '{level=~"error|critical"}'
_PER_HOUR: Final = "sum(increase({}{{" + OURS + "}}[1h]))"


def _share(part: str, whole: str) -> str:
    return f"{_PER_HOUR.format(part)} / {_PER_HOUR.format(whole)}"


DASHBOARDS: Final[dict[str, tuple[str, list[Panel]]]] = {
    "service": ("Service", [
        Panel("Requests", "reqps", {"{{status}}": _rate("http_requests_total", "status")}),
        Panel("Failed by the service's fault", "percentunit", {
            "share": f"({_rate('http_requests_total', where=_FAILED)} or vector(0)) / {_rate('http_requests_total')}"}),
        Panel("Duration", "s", _quantiles("http_request_duration_seconds")),
        Panel("Duration by endpoint, p95", "s", {
            "{{endpoint}}": _quantile(0.95, "http_request_duration_seconds", ", endpoint")}),
        Panel("Requests under way", "short", {
            "{{endpoint}}": f"sum by (endpoint) ({_gauge('http_requests_in_progress')})"}),
        Panel("Told to come back, by lane", "reqps", {
            "{{lane}}": 'sum by (lane) (rate(requests_turned_away_total{job="library"}[5m]))'}),
        Panel("Event loop's lag", "s", _quantiles("event_loop_lag_seconds")),
        Panel("CPU", "percent", {"{{instance}}": _gauge("system_cpu_usage_percent")}),
        Panel("Memory", "bytes", {
            "{{instance}} in use": _gauge("system_memory_usage_bytes"),
            "{{instance}} there is": _gauge("system_memory_limit_bytes"),
            "{{instance}} processes": _gauge("workers_memory_bytes")}),
        Panel("Disk", "bytes", {
            "{{instance}} {{mountpoint}} in use": _gauge("system_disk_usage_bytes"),
            "{{instance}} {{mountpoint}} size": _gauge("system_disk_size_bytes")}),
        Panel("Disk and network", "Bps", {
            "disk {{direction}}": _rate("system_disk_io_bytes_total", "direction"),
            "network {{direction}}": _rate("system_network_bytes_total", "direction")}),
        Panel("Processes", "short", {"{{instance}}": _gauge("workers")}),
        Panel("Release", "short", {"{{version}}": f"count by (version) ({_gauge('library_build_info')})"}),
        Panel("Targets that are up", "short", {"{{job}}": "sum by (job) (up)"}),
        Panel("The proxy's requests", "reqps", {"answered": 'rate(nginx_http_requests_total{job="nginx"}[5m])'}),
        Panel("Days until the certificate ends", "d", {
            "{{job}}": "(probe_ssl_earliest_cert_expiry - time()) / 86400"}),
    ]),
    "database": ("Database", [
        Panel("Answers", "short", {"{{instance}}": _gauge("db_up"), "the exporter of {{job}}": "pg_up"}),
        Panel("Statements", "ops", {"{{query_type}}": _rate("db_query_duration_seconds_count", "query_type")}),
        Panel("Statement's duration", "s", _quantiles("db_query_duration_seconds")),
        Panel("Connections", "short", {
            "in use": f"sum ({_gauge('db_connections')})", "allowed": f"sum ({_gauge('db_connections_limit')})"}),
        Panel("Failures", "ops", {"{{kind}}": _rate("db_errors_total", "kind")}),
        Panel("Size", "bytes", {"{{datname}}": 'pg_database_size_bytes{job="postgres"}'}),
        Panel("Replica's lag", "s", {"behind": '{__name__=~"pg_replication_lag(_seconds)?",job="replica"}'}),
        Panel("Locks", "short", {"{{mode}}": 'sum by (mode) (pg_locks_count{job="postgres"})'}),
    ]),
    "cache": ("Cache", [
        Panel("Catalogue answers", "reqps", {
            "from ready bytes": _rate("cache_hits_total"), "worked out": _rate("cache_misses_total")}),
        Panel("Redis answers", "short", {"up": 'redis_up{job="redis"}'}),
        Panel("The service does without", "short", {"{{target}}": _told("breaker_open", "target")}),
        Panel("Memory", "bytes", {
            "in use": 'redis_memory_used_bytes{job="redis"}', "allowed": 'redis_memory_max_bytes{job="redis"}'}),
        Panel("Commands", "ops", {"per second": 'rate(redis_commands_processed_total{job="redis"}[5m])'}),
        Panel("Keys", "ops", {
            "found": 'rate(redis_keyspace_hits_total{job="redis"}[5m])',
            "missed": 'rate(redis_keyspace_misses_total{job="redis"}[5m])',
            "evicted": 'rate(redis_evicted_keys_total{job="redis"}[5m])'}),
    ]),
    "jobs": ("Jobs and queues", [
        Panel("Since the last success", "s", {
            "{{name}}": f"time() - {_told('job_last_success_timestamp_seconds', 'name')}"}),
        Panel("Allowed", "s", {"{{name}}": _told("job_max_age_seconds", "name")}),
        Panel("Last duration", "s", {"{{name}}": _told("job_duration_seconds", "name")}),
        Panel("Failed at last", "short", {"{{name}}": _told("job_failed", "name")}),
        Panel("Notices that wait", "short", {"notices": _told("notices_pending")}),
        Panel("Files that wait", "short", {"imports": _told("imports_pending")}),
        Panel("Age of the oldest", "s", {
            "notice": _told("notices_oldest_seconds"), "file": _told("imports_oldest_seconds")}),
        Panel("Notices sent", "ops", {
            "{{kind}} {{result}}": f"max by (kind, result) (rate({_gauge('notices_sent_total')}[5m])) or vector(0)"}),
        Panel("States that must never be", "short", {"violations": _told("invariant_violations")}),
    ]),
    "business": ("Business", [
        Panel("In an hour", "short", {
            name: _PER_HOUR.format(metric) for name, metric in (
                ("searches", "searches_total"), ("bookings", "bookings_created_total"),
                ("loans", "loans_created_total"), ("returns", "returns_total"), ("renewals", "renewals_total"))}),
        Panel("From search to loan", "percentunit", {
            "bookings of searches": _share("bookings_created_total", "searches_total"),
            "loans of bookings": _share("loans_created_total", "bookings_created_total"),
        }),
        Panel("Lent now", "short", {"lent": _told("loans_open"), "overdue": _told("loans_overdue")}),
        Panel("Booked now", "short", {"{{status}}": _told("bookings_open", "status")}),
        Panel("Readers with something lent or booked", "short", {"readers": _told("readers_active")}),
        Panel("New books and accounts in an hour", "short", {
            "books": _PER_HOUR.format("books_created_total"), "accounts": _PER_HOUR.format("users_registered_total")}),
        Panel("Money in an hour, minor units", "short", {
            "{{kind}}": "sum by (kind) (increase(ledger_minor_total{" + OURS + "}[1h]))"}),
    ]),
    "errors": ("Errors", [
        Panel("Lines logged", "ops", {"{{level}}": _rate("log_lines_total", "level")}),
        Panel("Answers of 400 and above", "reqps", {
            "{{status}} {{endpoint}}": _COMPLAINTS}),
        Panel("The database's failures", "ops", {"{{kind}}": _rate("db_errors_total", "kind")}),
        Panel("Alerts", "short", {"{{alertname}}": "sum by (alertname) (ALERTS) or vector(0)"}),
    ]),
    "logs": ("Logs", [
        Panel("Lines by service", "short", {
            "{{service}}": 'sum by (service) (count_over_time({service=~".+"}[5m]))'}, "loki"),
        Panel("Errors by service", "short", {
            "{{service}}": f"sum by (service) (count_over_time({_ERRORS}[5m]))"}, "loki"),
        Panel("Errors by event", "short", {
            "{{event}}": f"topk(10, sum by (event) (count_over_time({_ERRORS}[5m])))"}, "loki"),
        Panel("The proxy's answers of 400 and above", "short", {
            "{{status}}":
            'sum by (status) (count_over_time({service="nginx"} | json | status=~"[45].." [5m]))'}, "loki"),
        Panel("Errors", "short", {"": _ERRORS}, "loki", "logs"),
        Panel("Slow and failed requests", "short", {
            "": '{service="api",level="warning"} | event="request"'}, "loki", "logs"),
        Panel("PostgreSQL", "short", {"": '{service=~"db|replica"} |~ "WARNING|ERROR|FATAL|PANIC"'}, "loki", "logs"),
        Panel("Everything", "short", {"": '{service=~".+"}'}, "loki", "logs"),
    ]),
    "slo": ("SLO", [
        Panel("Share of failures", "percentunit", {
            window: f"max(library:availability_errors:ratio_rate{window}) or vector(0)"
            for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")}),
        Panel("Within 250 ms", "percentunit", {
            "share": f"""{_rate('http_request_duration_seconds_bucket', where=',le="0.25"')}"""
            f" / {_rate('http_request_duration_seconds_count')}"}),
        Panel("Within 5 ms", "percentunit", {
            "share": f"""{_rate('http_request_duration_seconds_bucket', where=',le="0.005"')}"""
            f" / {_rate('http_request_duration_seconds_count')}"}),
    ]),
}  # fmt: skip


def queries(source: str) -> list[str]:
    """All that the dashboards ask of one source."""
    panels = [panel for _, panels in DASHBOARDS.values() for panel in panels if panel.source == source]
    return [query for panel in panels for query in panel.queries.values()]


def dashboard(name: str) -> dict[str, Any]:
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"library-{name}",
        "title": f"Library: {title}",
        "tags": ["library"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": {"type": panel.source, "uid": panel.source},
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def text(name: str) -> str:
    return json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(text(each), encoding="utf-8")
