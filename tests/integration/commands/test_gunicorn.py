"""gunicorn by the shipped gunicorn_conf.py: it answers, adds up its metrics, replaces who dies, and nobody is lost."""

import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from tests.integration.commands.command_line import GUNICORN, CommandLine, Service
from tests.servers import free_port

STOP_SECONDS = 30
COUNTED = re.compile(r'^http_requests_total\{endpoint="/api/v1/books",method="GET",status="200"\} (\S+)$', re.MULTILINE)
WORKERS = re.compile(r"^workers (\S+)$", re.MULTILINE)


def children(service: Service) -> set[str]:
    pid = service.process.pid
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def wait_for_workers(service: Service, text: str = "2.0") -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while WORKERS.findall(service.get("/metrics").text) != [text]:
        assert time.monotonic() < deadline, service.output()
        time.sleep(0.1)


def test_two_workers_add_up_and_one_that_is_killed_is_replaced(library: CommandLine) -> None:
    with library.under_gunicorn(WEB_CONCURRENCY="2") as service:
        wait_for_workers(service)
        for _ in range(40):
            assert service.get("/api/v1/books").status_code == 200
        assert {found for _ in range(6) for found in COUNTED.findall(service.get("/metrics").text)} == {"40.0"}
        assert "server" not in service.get("/health").headers
        before = children(service)
        victim = min(before)
        os.kill(int(victim), signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        while victim in children(service) or len(children(service)) < 2:
            assert time.monotonic() < deadline, service.output()
            time.sleep(0.1)
        wait_for_workers(service)  # what the dead one held is gone, what it counted stays
        assert COUNTED.findall(service.get("/metrics").text) == ["40.0"]
        assert before & children(service)


def test_sigterm_drains_and_no_request_fails(library: CommandLine) -> None:
    with library.under_gunicorn(WEB_CONCURRENCY="2", SHUTDOWN_DELAY="2", RATE_LIMIT_ENABLED="false") as service:
        wait_for_workers(service)
        answers: Counter[int | str] = Counter()
        is_told = threading.Event()

        def read() -> None:
            """As a load balancer does: it asks no more who says that he drains."""
            while not is_told.is_set():
                try:
                    answers[service.get("/api/v1/books").status_code] += 1
                except httpx2.HTTPError as error:
                    answers[type(error).__name__] += 1

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            time.sleep(1)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            draining = service.get("/health/ready")
            assert (draining.status_code, draining.json()["errors"]) == (503, ["draining"])
            time.sleep(0.5)
        finally:
            is_told.set()
            for reader in readers:
                reader.join()
        assert service.process.wait(STOP_SECONDS) == 0
        assert answers.keys() == {200}, answers
        assert answers.total() > 20
        assert "Traceback" not in service.output()
        assert "draining" in service.output()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"ENVIRONMENT": "nowhere"}, "ENVIRONMENT"), ({}, "The database is empty and this release needs")],
)
def test_what_can_not_start_says_why_and_ends(bare: CommandLine, settings: dict[str, str], sentence: str) -> None:
    refused = subprocess.run(
        [*GUNICORN], cwd=bare.folder, env=bare.environment({"PORT": str(free_port()), **settings}),
        capture_output=True, text=True, timeout=STOP_SECONDS, check=False,
    )  # fmt: skip
    assert refused.returncode
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
