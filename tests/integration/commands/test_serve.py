"""`library serve`: it answers, shares its metrics, and stops so that nobody notices."""

import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from app.core.revision import newest
from tests.integration.commands.command_line import CommandLine, Service, children

STOP_SECONDS = 15
MOST_PRIVATE_MIB = 60


def stop(service: Service, *signals: signal.Signals) -> int:
    for each in signals:
        service.process.send_signal(each)
    return service.process.wait(STOP_SECONDS)


def test_the_service_answers_and_ends_well(library: CommandLine) -> None:
    started = time.monotonic()
    with library.serving() as service:
        sys.stdout.write(f"`library serve` answers after {time.monotonic() - started:.2f} s\n")
        assert service.get("/health/ready").json() == {"status": "ready"}
        assert "server" not in service.get("/health").headers
        assert stop(service, signal.SIGTERM) == 0
        assert re.search(r"serving +at=http://localhost:\d+ host=127\.0\.0\.1 port=\d+ workers=1", service.output())
        assert "Traceback" not in service.output()


def test_ctrl_c_ends_at_once_and_quietly(library: CommandLine) -> None:
    with library.serving(SHUTDOWN_DELAY="60") as service:
        assert stop(service, signal.SIGINT) == 130
        assert "Traceback" not in service.output()
        assert "stopped" in service.output().splitlines()[-1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_drains_while_requests_still_work(library: CommandLine, workers: str) -> None:
    with library.serving("--workers", workers, SHUTDOWN_DELAY="2") as service:
        # A process manager tells the whole group, the supervisor tells its workers: they hear it twice.
        told = time.monotonic()
        os.killpg(service.process.pid, signal.SIGTERM)
        time.sleep(0.4)
        for _ in range(5):
            draining = service.get("/health/ready")
            assert (draining.status_code, draining.json()["errors"]) == (503, ["draining"])
            assert service.get("/health").status_code == 200
            assert service.get("/api/v1/books").status_code == 200
        assert service.process.wait(STOP_SECONDS) == 0
        assert time.monotonic() - told > 1.8
        with pytest.raises(httpx2.ConnectError):
            service.get("/health")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_the_wait(library: CommandLine, workers: str) -> None:
    with library.serving("--workers", workers, SHUTDOWN_DELAY="60") as service:
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        assert service.get("/health/ready").status_code == 503
        assert stop(service, signal.SIGTERM) == 0
        assert "Traceback" not in service.output()


def test_a_request_under_way_is_answered_before_the_end(library: CommandLine) -> None:
    body = b'{"email": "reader@library.test", "password": "a password for tests"}'
    with library.serving() as service, socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:10]
        )
        time.sleep(0.2)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        client.sendall(body[10:])
        assert client.recv(4_096).startswith(b"HTTP/1.1 401 ")
        assert service.process.wait(STOP_SECONDS) == 0


def test_a_request_that_never_ends_is_cut_off_after_the_graceful_time(library: CommandLine) -> None:
    with (
        library.serving(GRACEFUL_TIMEOUT="1") as service,
        socket.create_connection(("127.0.0.1", service.port)) as client,
    ):
        client.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        time.sleep(0.2)
        told = time.monotonic()
        assert stop(service, signal.SIGTERM) == 0
        assert 0.9 < time.monotonic() - told < STOP_SECONDS


def test_two_workers_share_their_metrics(library: CommandLine, tmp_path: Path) -> None:
    with library.serving("--workers", "2") as service:
        while len(children(service.process.pid)) < 2:
            time.sleep(0.1)
        for _ in range(40):
            assert service.get("/api/v1/books").status_code == 200
        counts = set()
        for _ in range(6):
            found = re.findall(
                r'^http_requests_total\{endpoint="/api/v1/books",method="GET",status="200"\} (\S+)$',
                service.get("/metrics").text,
                re.MULTILINE,
            )
            counts.update(found)
        assert counts == {"40.0"}
        files = [path.name for path in (tmp_path / "metrics" / str(service.port)).iterdir()]
        by_worker = [f"counter_{pid}.db" for pid in children(service.process.pid)]
        assert set(by_worker) <= set(files)


def test_a_start_forgets_the_metrics_of_the_last_one(library: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"old")
    (folder / "notes.txt").write_text("kept")
    with library.serving(PROMETHEUS_MULTIPROC_DIR=str(folder)) as service:
        assert "http_requests_total" in service.get("/metrics").text
    assert not (folder / "counter_1.db").exists()
    assert (folder / "notes.txt").read_text() == "kept"


def test_a_folder_of_other_databases_is_never_emptied(library: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").write_bytes(b"old")
    (tmp_path / "other.db").write_bytes(b"precious")
    complaint = library.refused("serve", "--port", "0", PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert f"The folder {tmp_path}, through which the workers share their metrics, can't be used: it holds" in complaint
    assert (tmp_path / "other.db").read_bytes() == b"precious"
    assert (tmp_path / "counter_1.db").read_bytes() == b"old"


def test_an_unexpected_fault_is_logged_without_what_the_variables_held(library: CommandLine) -> None:
    body = b'{"email": "reader@library.test", "password": "a-secret-word'
    with (
        library.serving(GRACEFUL_TIMEOUT="1") as service,
        socket.create_connection(("127.0.0.1", service.port)) as client,
    ):
        client.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n" + body)
        time.sleep(0.2)
        assert stop(service, signal.SIGTERM) == 0
        assert "CancelledError" in service.output()
        assert "a-secret-word" not in service.output()
        assert len(service.output().splitlines()) < 200


def test_a_worker_that_dies_is_replaced(library: CommandLine) -> None:
    with library.serving("--workers", "2") as service:
        while "serving" not in service.output():
            time.sleep(0.1)
        victim = children(service.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        while victim in children(service.process.pid) or len(children(service.process.pid)) < 2:
            assert time.monotonic() < deadline, service.output()
            time.sleep(0.1)
        assert "worker_died" in service.output()
        for _ in range(10):
            assert service.get("/health").status_code == 200


def test_workers_share_what_their_supervisor_has_loaded_and_no_random_numbers(library: CommandLine) -> None:
    with library.serving("--workers", "2") as service:
        workers = children(service.process.pid)
        ids = [service.get("/health").headers["X-Request-ID"] for _ in range(100)]
        private = [_private_mib(pid) for pid in workers]
    assert len(set(ids)) == len(ids)
    assert max(private) < MOST_PRIVATE_MIB, private


def _private_mib(pid: int) -> float:
    """What a process has for itself alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def test_workers_end_with_a_supervisor_that_is_killed(library: CommandLine) -> None:
    with library.serving("--workers", "2") as service:
        workers = children(service.process.pid)
        service.process.kill()
        service.process.wait(STOP_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_host_port_and_workers_come_from_the_environment_too(library: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"127.0.0.1:{port} already" in library.refused("serve", HOST="127.0.0.1", PORT=port, WEB_CONCURRENCY="2")
    with library.serving(PORT="1", WEB_CONCURRENCY="2", HOST="localhost") as service:
        assert service.get("/health").status_code == 200
        while "workers=2" not in service.output():
            time.sleep(0.1)


def test_pending_migrations_are_told_or_run(unmigrated: CommandLine) -> None:
    sentence = f"The database is empty and this release needs {newest()}. Run `library migrate` first.\n"
    assert unmigrated.refused("serve", "--port", "0") == sentence
    assert unmigrated.refused("serve", "--port", "0", "--workers", "2") == sentence
    with unmigrated.serving("--migrate") as service:
        assert service.get("/health/ready").json() == {"status": "ready"}
        assert f"The database went from empty to {newest()}." in service.output()


def test_the_demonstration_greets_with_passwords_once(unmigrated: CommandLine, tmp_path: Path) -> None:
    with unmigrated.serving("--demo") as service:
        greeting = service.output()
        assert f"The library is open at {service.address}\n" in greeting
        assert f"  Try the API    {service.address}/docs\n" in greeting
        assert str(tmp_path) in greeting
        assert "  Stop           Ctrl-C\n" in greeting
        passwords = dict(re.findall(r"^(\S+@library\.test) +(\S+)", greeting, re.MULTILINE))
        assert len(passwords) == 5
        assert all(service.can_sign_in(email, password) for email, password in passwords.items())
    with unmigrated.serving("--demo", "--workers", "2") as service:
        while "Ctrl-C" not in service.output():
            time.sleep(0.1)
        assert "library user set-password --email admin@library.test" in service.output()
        assert not any(password in service.output() for password in passwords.values())
        assert service.can_sign_in("admin@library.test", passwords["admin@library.test"])


def test_logs_are_ours_for_uvicorns_lines_too(library: CommandLine) -> None:
    with library.serving(LOG_FORMAT="json") as service:
        service.get("/health")
        assert stop(service, signal.SIGTERM) == 0
        lines = service.output().splitlines()
    assert lines
    assert all(line.startswith("{") and '"timestamp"' in line for line in lines)


def test_reload_serves_and_stops(library: CommandLine) -> None:
    with library.serving("--reload") as service:
        assert service.get("/health/ready").json() == {"status": "ready"}
        os.killpg(service.process.pid, signal.SIGINT)
        service.process.wait(STOP_SECONDS)
        assert "Traceback" not in service.output()


def test_a_load_balancer_that_asks_readiness_loses_no_request(library: CommandLine) -> None:
    statuses: list[int] = []
    with library.serving("--workers", "2", SHUTDOWN_DELAY="2") as service:

        def balance() -> None:
            while service.get("/health/ready").status_code == 200:
                statuses.extend(service.get("/api/v1/books").status_code for _ in range(5))

        balancing = threading.Thread(target=balance)
        balancing.start()
        time.sleep(0.5)
        assert stop(service, signal.SIGTERM) == 0
        balancing.join(STOP_SECONDS)
        assert not balancing.is_alive()
    assert len(statuses) >= 5
    assert set(statuses) == {200}
