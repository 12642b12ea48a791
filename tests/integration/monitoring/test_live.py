"""The shipped monitoring in real servers: every target is up, every query answers, every kind of fault is told."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import httpx2
import pytest

from app.core import migrations
from app.core.db import Database
from scripts import dashboards
from tests import evidence, servers
from tests.conftest import _settings
from tests.integration.commands.command_line import CommandLine, Service
from tests.integration.monitoring.stack import (
    ROOT,
    Pager,
    Prometheus,
    nginx_files,
    ports,
    processes,
    shipped,
)

WORKERS = 4
REQUESTS = 200
SEARCHES = count()
# Debian's exporter doesn't know it yet, and without a replica there is none.
OF_NEWER_EXPORTERS = "pg_replication_lag"


@dataclass(frozen=True)
class Watched:
    """The service, and who watches it."""

    library: CommandLine
    service: Service
    postgres: servers.Postgres
    redis: servers.Redis
    prometheus: Prometheus
    pager: Pager


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres())
        redis = stack.enter_context(servers.redis())
        pager = stack.enter_context(Pager().answering())
        data = tmp_path / "data"
        data.mkdir()
        settings = _settings(data, database_url=f"{postgres.url}/postgres")
        asyncio.run(_migrate(settings))
        library = CommandLine.of(settings)
        service = stack.enter_context(
            library.serving("--workers", str(WORKERS), REDIS_URL=redis.url, RATE_LIMIT_ENABLED="true")
        )
        at = ports("prometheus", "alertmanager", "node", "postgres", "redis", "nginx", "blackbox", "stub", "tls")
        hosts = {
            "api:8000": service.port, "prometheus:9090": at["prometheus"], "alertmanager:9093": at["alertmanager"],
            "node-exporter:9100": at["node"], "postgres-exporter:9187": at["postgres"],
            "redis-exporter:9121": at["redis"], "nginx-exporter:9113": at["nginx"],
            "blackbox-exporter:9115": at["blackbox"], "nginx:443": at["tls"], "pager:8080": pager.port,
        }  # fmt: skip
        shipped(tmp_path, hosts)
        nginx_files(tmp_path, at["stub"], at["tls"])
        stack.enter_context(processes(tmp_path, _commands(tmp_path, at, postgres, redis)))
        yield Watched(library, service, postgres, redis, Prometheus(at["prometheus"]), pager)


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


def load(service: Service, times: int) -> None:
    """Searches that nobody made before, on a connection each so that every worker gets some."""
    for number in islice(SEARCHES, times):
        httpx2.get(f"{service.address}/api/v1/books?q=history+{number}", timeout=10)


def lock_books(postgres: servers.Postgres) -> "subprocess.Popen[bytes]":
    """Somebody at the database who locks the catalogue for a while: reading it fails, all else goes on."""
    statement = "BEGIN; LOCK TABLE books IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"
    return subprocess.Popen(["psql", "-q", "-c", statement, f"{postgres.url}/postgres"], stdout=subprocess.DEVNULL)


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


def test_the_shipped_monitoring_sees_everything_and_tells_every_kind_of_fault(watched: Watched) -> None:
    load(watched.service, REQUESTS)
    counted = 'http_requests_total{endpoint="/api/v1/books",status="200"}'
    eventually(lambda: len(watched.prometheus.query(counted)) == 1, lambda: "not scraped")
    eventually(lambda: watched.prometheus.value(counted) == REQUESTS, lambda: watched.prometheus.query(counted))
    down = watched.prometheus.query("up == 0")
    assert not down, down
    queries = [q for _, panels in dashboards.DASHBOARDS.values() for panel in panels for q in panel.queries.values()]

    def empty() -> list[str]:
        return [q for q in queries if OF_NEWER_EXPORTERS not in q and not watched.prometheus.query(q)]

    eventually(lambda: not empty(), empty, 30)

    arrives(watched, "BackupMissing")
    watched.library.done("job", "note", "backup", "--seconds", "1")
    resolves(watched, "BackupMissing")

    watched.redis.stop()
    load(watched.service, 5)
    arrives(watched, "RedisDown")
    watched.redis.start()
    resolves(watched, "RedisDown")

    forget = "UPDATE job_runs SET last_success_at = now() - interval '1 day' WHERE name = 'remind'"
    subprocess.run(["psql", "-q", "-c", forget, f"{watched.postgres.url}/postgres"], check=True)
    arrives(watched, "JobMissed")
    watched.library.done("job", "run", "remind")
    resolves(watched, "JobMissed")

    blocker = lock_books(watched.postgres)
    deadline = time.monotonic() + 30
    while not {"ErrorBudgetBurnFast", "ErrorRateHigh"} <= watched.pager.fired and time.monotonic() < deadline:
        load(watched.service, 1)
    blocker.kill()
    blocker.wait()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'"
    subprocess.run(["psql", "-q", "-c", end, f"{watched.postgres.url}/postgres"], check=True, stdout=subprocess.DEVNULL)
    arrives(watched, "ErrorBudgetBurnFast", "ErrorRateHigh")
    load(watched.service, 50)

    watched.postgres.stop()
    arrives(watched, "DatabaseDown")
    watched.postgres.start(durable=False)
    resolves(watched, "DatabaseDown", "ErrorRateHigh", "ErrorBudgetBurnFast")

    evidence.keep(
        "R12-live", "postgresql", queries=len(queries), requests_counted=REQUESTS, workers=WORKERS,
        fired=sorted(watched.pager.fired), resolved=sorted(watched.pager.resolved),
    )  # fmt: skip
