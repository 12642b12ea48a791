"""The shipped monitoring in real servers: every target is up, every query answers, every kind of fault is told."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core import migrations
from app.core.db import Database
from scripts import dashboards
from tests import evidence, servers
from tests.conftest import _settings
from tests.integration.commands.command_line import CommandLine, Service
from tests.integration.monitoring import traffic
from tests.integration.monitoring.pictures import Line, Mark, drawn, legend
from tests.integration.monitoring.stack import (
    ROOT,
    Pager,
    Prometheus,
    nginx_files,
    ports,
    processes,
    shipped,
)
from tests.integration.observability.collector import collector
from tests.servers import eventually
from tests.smtp import Mailbox, smtp_server

WORKERS = 4
REQUESTS = 200
# Debian's exporter doesn't know it yet, and without a replica there is none.
OF_NEWER_EXPORTERS = "pg_replication_lag"
# Where the dashboards are drawn; `make dashboard-pictures` says docs/images.
PICTURES = os.environ.get("PICTURES")
PICTURED = ("service", "database", "business", "slo")


@dataclass(frozen=True)
class Watched:
    """The service, and who watches it."""

    folder: Path
    library: CommandLine
    service: Service
    postgres: servers.Postgres
    redis: servers.Redis
    prometheus: Prometheus
    pager: Pager
    mailbox: Mailbox


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres())
        redis = stack.enter_context(servers.redis())
        pager = Pager(stack.enter_context(collector()))
        mailbox = stack.enter_context(smtp_server())
        data = tmp_path / "data"
        data.mkdir()
        settings = _settings(data, database_url=f"{postgres.url}/postgres")
        asyncio.run(_migrate(settings))
        library = CommandLine.of(settings)
        library.done("user", "create", "--email", traffic.ADMIN, "--role", "admin", "--password", traffic.PASSWORD)
        service = stack.enter_context(
            library.serving("--workers", str(WORKERS), REDIS_URL=redis.url, RATE_LIMIT_ENABLED="true")
        )
        at = ports("prometheus", "alertmanager", "node", "postgres", "redis", "nginx", "blackbox", "stub", "tls")
        hosts = {
            "api:8000": service.port, "prometheus:9090": at["prometheus"], "alertmanager:9093": at["alertmanager"],
            "node-exporter:9100": at["node"],
            "postgres-exporter:9187": at["postgres"], "replica-exporter:9187": at["postgres"],
            "redis-exporter:9121": at["redis"], "nginx-exporter:9113": at["nginx"],
            "blackbox-exporter:9115": at["blackbox"], "nginx:8443": at["tls"],
            "pager:8080": pager.port, "mail:25": mailbox.port,
        }  # fmt: skip
        shipped(tmp_path, hosts)
        nginx_files(tmp_path, at["stub"], at["tls"])
        stack.enter_context(processes(tmp_path, _commands(tmp_path, at, postgres, redis)))
        yield Watched(tmp_path, library, service, postgres, redis, Prometheus(at["prometheus"]), pager, mailbox)


def _commands(
    folder: Path, at: dict[str, int], postgres: servers.Postgres, redis: servers.Redis
) -> dict[str, tuple[list[str], int, dict[str, str]]]:
    watching = {
        "alertmanager": [
            "--config.file=alertmanager.yml",
            "--cluster.listen-address=",
            f"--storage.path={folder}/alerts",
        ],
        "prometheus": ["--config.file=prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"],
    }
    found = {"nginx": (["nginx", "-c", str(folder / "nginx.conf")], at["stub"], {}), **_exporters(at, postgres, redis)}
    for name, options in watching.items():
        program = name if name == "prometheus" else f"prometheus-{name}"
        found[name] = ([program, *options, f"--web.listen-address=127.0.0.1:{at[name]}"], at[name], {})
    return found


def _exporters(
    at: dict[str, int], postgres: servers.Postgres, redis: servers.Redis
) -> dict[str, tuple[list[str], int, dict[str, str]]]:
    source = {"DATA_SOURCE_NAME": f"{postgres.url}/postgres?sslmode=disable"}
    options: dict[str, tuple[str, list[str], dict[str, str]]] = {
        "node": ("-", [], {}),
        "postgres": ("-", [], source),
        "redis": ("-", [f"--redis.addr=redis://127.0.0.1:{redis.port}"], {}),
        "nginx": ("", [f"-nginx.scrape-uri=http://127.0.0.1:{at['stub']}/stub_status"], {}),
        "blackbox": ("-", [f"--config.file={ROOT / 'prometheus' / 'blackbox.yml'}"], {}),
    }
    return {
        f"{name}-exporter": (
            [f"prometheus-{name}-exporter", f"{dash}-web.listen-address=127.0.0.1:{at[name]}", *given],
            at[name],
            environment,
        )
        for name, (dash, given, environment) in options.items()
    }


async def _migrate(settings: object) -> None:
    database = Database(settings)  # type: ignore[arg-type]  # Settings, whose copy mypy knows as such
    await migrations.upgrade(database)
    await database.close()


@contextmanager
def locked_books(postgres: servers.Postgres) -> Iterator[None]:
    """Somebody at the database who locks the catalogue: reading it fails, all else goes on."""
    statement = "BEGIN; LOCK TABLE books IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"
    blocker = subprocess.Popen(["psql", "-q", "-c", statement, f"{postgres.url}/postgres"], stdout=subprocess.DEVNULL)
    yield
    blocker.kill()
    blocker.wait()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'"
    subprocess.run(["psql", "-q", "-c", end, f"{postgres.url}/postgres"], check=True, stdout=subprocess.DEVNULL)


def arrives(watched: Watched, *alerts: str) -> None:
    eventually(
        lambda: set(alerts) <= watched.pager.fired,
        lambda: (alerts, watched.pager.fired, watched.prometheus.firing()),
    )


def resolves(watched: Watched, *alerts: str) -> None:
    eventually(
        lambda: set(alerts) <= watched.pager.resolved,
        lambda: (alerts, watched.pager.resolved, watched.prometheus.firing()),
        seconds=120,
    )


def everything_is_seen(watched: Watched) -> traffic.Desk:
    """What was asked is counted to the last request, every target is up, and every query has an answer."""
    traffic.search(watched.service, REQUESTS)
    counted = 'sum(http_requests_total{endpoint="/api/v1/books",status="200"})'
    eventually(lambda: len(watched.prometheus.query(counted)) == 1, lambda: "not scraped")
    eventually(lambda: watched.prometheus.value(counted) == REQUESTS, lambda: watched.prometheus.query(counted))
    desk = traffic.Desk(watched.service)
    desk.serve()

    def down_or_empty() -> list[object]:
        asked = [q for q in dashboards.queries("prometheus") if OF_NEWER_EXPORTERS not in q]
        return [*watched.prometheus.query("up == 0"), *(q for q in asked if not watched.prometheus.query(q))]

    eventually(lambda: not down_or_empty(), down_or_empty, 30)
    return desk


def faults_are_told(watched: Watched, began: float) -> Iterator[Mark]:
    """One of each group at least fires and arrives; those that don't get in each other's way, at once."""

    def now(what: str) -> Mark:
        return Mark(time.time() - began, what)

    arrives(watched, "BackupMissing", "RestoreUntested")
    yield now("backup noted, Redis gone, job missed")
    for name in ("backup", "restore_test"):
        watched.library.done("job", "note", name, "--seconds", "1")
    watched.redis.stop()
    forget = "UPDATE job_runs SET last_success_at = now() - interval '1 day' WHERE name = 'remind'"
    subprocess.run(["psql", "-q", "-c", forget, f"{watched.postgres.url}/postgres"], check=True)
    arrives(watched, "RedisDown", "JobMissed")
    watched.redis.start()
    yield now("Redis back, catalogue locked")
    with locked_books(watched.postgres):
        watched.library.done("job", "run", "remind")
        arrives(watched, "ErrorBudgetBurnFast", "ErrorRateHigh")
    yield now("catalogue free, database crashed")
    watched.postgres.stop()
    arrives(watched, "DatabaseDown")
    watched.postgres.start(durable=False)
    yield now("database back")
    resolves(watched, "BackupMissing", "RestoreUntested", "RedisDown", "JobMissed")
    resolves(watched, "DatabaseDown", "ErrorRateHigh", "ErrorBudgetBurnFast")


def letters_came(watched: Watched) -> None:
    """A page wakes somebody, a ticket goes to those who read in the morning; each hears of the end, too."""
    of_alert = {"oncall@library.example": "DatabaseDown", "operators@library.example": "RedisDown"}

    def missing() -> list[tuple[str, str]]:
        return [
            (to, status)
            for to, alert in of_alert.items()
            for status in ("[FIRING", "[RESOLVED")
            if not any(told.startswith(status) and alert in told for told in watched.mailbox.of(to))
        ]

    eventually(lambda: not missing(), missing)


def nothing_leaked(watched: Watched) -> None:
    """Whatever failed: what is under way went up as often as down."""
    under_way = 'sum(http_requests_in_progress{endpoint!="/metrics"})'
    eventually(lambda: watched.prometheus.value(under_way) == 0, lambda: watched.prometheus.query(under_way))
    # The scrape itself may hold one.
    eventually(lambda: 0 <= watched.prometheus.value("sum(db_connections)") <= 1, lambda: "connections leak")
    assert watched.prometheus.value("min_over_time(sum(db_connections)[1h:1s])") >= 0


def lines_of(watched: Watched, panel: dashboards.Panel, began: float, ended: float) -> list[Line]:
    found = []
    for template, query in panel.queries.items():
        for series in watched.prometheus.over_time(query, begin=began, end=ended):
            points = [(at - began, float(figure)) for at, figure in series["values"] if figure not in {"NaN", "+Inf"}]
            found.append(Line(legend(template, series["metric"]), points))
    return found


def test_the_shipped_monitoring_sees_everything_and_tells_every_kind_of_fault(watched: Watched) -> None:
    began = time.time()
    desk = everything_is_seen(watched)
    with (
        traffic.going_on(desk.serve, pause_seconds=0.5),
        traffic.going_on(lambda: traffic.search(watched.service, 1), pause_seconds=0.1),
    ):
        marks = list(faults_are_told(watched, began))
    letters_came(watched)
    nothing_leaked(watched)
    seconds = time.time() - began
    folder = Path(PICTURES) if PICTURES else watched.folder
    for name in PICTURED:
        picture = drawn(name, lambda panel: lines_of(watched, panel, began, began + seconds), marks, seconds)
        assert picture.count("<polyline") >= len(dashboards.DASHBOARDS[name][1]) - 1, "the replica's lag has none"
        (folder / f"dashboard-{name}.svg").write_text(picture, encoding="utf-8")
    evidence.keep(
        "R12-live", "postgresql", queries=len(dashboards.queries("prometheus")), requests_counted=REQUESTS,
        workers=WORKERS, fired=sorted(watched.pager.fired), resolved=sorted(watched.pager.resolved),
    )  # fmt: skip
