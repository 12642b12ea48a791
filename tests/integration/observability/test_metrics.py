"""The metrics of a service in four processes: exact, without the dead, as the library would write them, and cheap."""

import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from app.core.config import Settings
from tests import evidence
from tests.integration.commands.command_line import CommandLine, Service, children
from tests.servers import eventually

WORKERS = 4
REQUESTS = 200
HANGING = 8
ROUNDS, SCRAPES = 8, 120
LIMIT_MS = 5
# Half a request: the process that reads it waits for the rest.
HALF = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
UNDER_WAY = 'http_requests_in_progress{endpoint="/api/v1/auth/login",method="POST"}'
# These change while nobody asks for anything.
RESTLESS = re.compile(r"/metrics|event_loop_lag|_memory_|db_query|log_lines")

Figures = dict[str, float]


def test_four_processes_count_exactly_cost_little_to_ask_and_forget_the_dead(
    library: CommandLine, settings: Settings, backend: str
) -> None:
    with library.serving("--workers", str(WORKERS), SCHEDULER_ENABLED="false", RATE_LIMIT_ENABLED="false") as service:
        service.wait_until_all_answer()
        counters_add_up(service)
        folder = settings.data_dir / "metrics" / str(service.port)
        ask_for_everything(service)
        figures_are_those_of_the_library(service, folder)
        cost_ms, librarys_ms = costs_ms(service, folder)
        evidence.keep(
            "R12-scrape", backend, value=round(cost_ms, 2), limit=LIMIT_MS, unit="ms of CPU, the whole request",
            size=len(told(service)), workers=WORKERS, librarys_collector_alone_ms=round(librarys_ms, 1),
        )  # fmt: skip
        assert cost_ms < librarys_ms / 3
        a_killed_process_leaves_its_counts_and_nothing_else(service)


def figures(text: str) -> Figures:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{each.name}{{{_labels(each.labels)}}}": each.value for each in samples}


def _labels(given: dict[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in sorted(given.items()))


def told(service: Service) -> Figures:
    return figures(service.get("/metrics").text)


def librarys(folder: Path) -> str:
    """What prometheus_client itself makes of the files."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # theirs has no types
    return generate_latest(registry).decode()


def ask_for_everything(service: Service) -> None:
    """Every method of every route, in some process at least."""
    paths = service.get("/openapi.json").json()["paths"]
    each = [
        (method, service.address + re.sub(r"\{[^}]*\}", "7", path))
        for path, operations in paths.items()
        for method in operations
        if "stream" not in path
    ]
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda call: httpx2.request(*call, timeout=20), each * (WORKERS // 2)))


def cpu_seconds(pids: list[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def counters_add_up(service: Service) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda number: service.get(f"/api/v1/books?q=w{number}"), range(REQUESTS)))
    assert {answer.status_code for answer in answers} == {200}
    seen = told(service)
    of_books = 'endpoint="/api/v1/books",method="GET"'
    assert seen[f'http_requests_total{{{of_books},status="200"}}'] == REQUESTS
    assert seen[f"http_request_duration_seconds_count{{{of_books}}}"] == REQUESTS
    assert seen["searches_total{}"] == REQUESTS
    assert seen["workers{}"] == WORKERS
    assert seen[f"http_requests_in_progress{{{of_books}}}"] == 0


def figures_are_those_of_the_library(service: Service, folder: Path) -> None:
    """And promtool finds no fault in them."""
    text = service.get("/metrics").text
    ours, theirs = figures(text), figures(librarys(folder))
    assert len(theirs) > 1_000
    assert {name: ours[name] for name in theirs if not RESTLESS.search(name)} == {
        name: value for name, value in theirs.items() if not RESTLESS.search(name)
    }
    checked = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert "# HELP http_requests_total Requests answered\n# TYPE http_requests_total counter\n" in text


def costs_ms(service: Service, folder: Path) -> tuple[float, float]:
    """CPU time of a whole request, and of the library's collector alone; by turns, as machines have moods."""
    for _ in range(SCRAPES // 2):  # each process finds out the names once
        service.get("/metrics")
    pids = children(service.process.pid)
    ours = theirs = 0.0
    for _ in range(ROUNDS):
        began = cpu_seconds(pids)
        for _ in range(SCRAPES // ROUNDS):
            service.get("/metrics")
        ours += cpu_seconds(pids) - began
        began = time.process_time()
        librarys(folder)
        theirs += time.process_time() - began
    return ours / SCRAPES * 1e3, theirs / ROUNDS * 1e3


def a_killed_process_leaves_its_counts_and_nothing_else(service: Service) -> None:
    with ExitStack() as stack:
        hanging = [stack.enter_context(socket.create_connection(("localhost", service.port))) for _ in range(HANGING)]
        for client in hanging:
            client.sendall(HALF)
        eventually(lambda: told(service).get(UNDER_WAY) == HANGING, service.output)
        before, victim = told(service), children(service.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in children(service.process.pid), service.output)
        whole = {name: before[name] for name in ("workers{}", "db_connections_limit{}")}
        eventually(lambda: whole.items() <= told(service).items(), service.output)
        assert told(service)[UNDER_WAY] == sum(still_open(client) for client in hanging)
        after = told(service)
    counted = [name for name in before if "_total{" in name]
    assert counted
    assert all(after[name] >= before[name] for name in counted)


def still_open(client: socket.socket) -> bool:
    client.setblocking(False)  # noqa: FBT003  # the standard library's way to say it
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False
