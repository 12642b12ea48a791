"""Restarts and faults under load: readers and signed-in writers notice nothing."""

import re
import signal
import socket
import ssl
import subprocess
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from tests import evidence
from tests.integration.stack.client import Client, steady
from tests.integration.stack.conftest import IS_FULL
from tests.integration.stack.desk import Desk, working
from tests.integration.stack.running import GATEWAY, HOST, SECOND_CLIENT, Stack

ROUNDS = 100 if IS_FULL else 3
SLOW_CONNECTIONS = 6_000 if IS_FULL else 500
LOAD_SECONDS = 4
READ = ("/api/v1/books", "/health", "/docs")


def failures(answers: Counter[int | str]) -> int:
    """Everything but an answer that is as it should be; 429 is the proxy keeping its word."""
    return sum(count for answer, count in answers.items() if answer not in {200, 429, "asked again"})


def test_all_are_restarted_in_turn_and_nobody_notices(stack: Stack) -> None:
    names = ["api-1", "api-2"]
    with Client(stack, SECOND_CLIENT) as client:
        desk = Desk(stack, client, "rolling")
        with steady(stack, GATEWAY, *READ) as answers, working(desk) as ledger:
            for _ in range(ROUNDS):
                for name in names:
                    stack.members(*(other for other in names if other != name))
                    assert stack.end(name) == 0
                    stack.start("api", name).wait_until_healthy()
                    stack.members(*names)
        loans, bookings = desk.stored("loans"), desk.stored("bookings")
    lost = len({*ledger.loans} - {loan["id"] for loan in loans})
    lost += len({*ledger.bookings} - {booking["id"] for booking in bookings})
    doubled = len(loans) - len(ledger.loans) + len(bookings) - len(ledger.bookings)
    evidence.keep(
        "R3", "rolling", rounds=ROUNDS, answered=answers.total(), failed=failures(answers),
        asked_again=answers["asked again"], written=2 * len(ledger.loans) + ledger.returns,
        sent_again=ledger.sent_again, lost_writes=lost, doubled_writes=doubled,
    )  # fmt: skip
    log = stack.running["nginx"].log.read_text().splitlines()
    assert failures(answers) == 0, [line for line in log if '"status":"5' in line or '"status":"499' in line][-5:]
    assert answers[200] > 100
    assert (lost, doubled) == (0, 0)
    assert len(ledger.loans) > 20
    assert not [said for said in ledger.refused if " 5" in said], ledger.refused
    assert all(loan["returned_at"] for loan in loans)


# Redis with which reading goes well and writing doesn't, and what it says then.
UNWRITABLE = {
    "redis full": (["--maxmemory", "1", "--maxmemory-policy", "noeviction"], "OOM"),
    "redis read-only": (["--replicaof", "127.0.0.1", "1"], "READONLY"),
}


@pytest.mark.parametrize("fault", ["replica", "redis hung", "redis flushed", "redis killed", *UNWRITABLE])
def test_a_lost_helper_costs_no_answer(stack: Stack, fault: str) -> None:
    name = fault.split(maxsplit=1)[0]
    sandbox = stack.running[name]
    assert sandbox.process is not None
    with steady(stack, SECOND_CLIENT, *READ) as answers:
        if fault == "redis hung":
            sandbox.process.send_signal(signal.SIGSTOP)
            time.sleep(4)
            sandbox.process.send_signal(signal.SIGCONT)
        elif fault in UNWRITABLE:
            options, refusal = UNWRITABLE[fault]
            stack.end(name)
            stack.start(name, command=[*sandbox.service.command, *options]).wait_until_healthy()
            write = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli set x 1"
            assert refusal in stack.running[name].run("/bin/sh", "-c", write).stdout
            # Each of two processes counts by itself then: ten tries at one account, and no more.
            tries = Counter(_wrong_password(stack, f"{refusal}@library.test") for _ in range(24))
            assert tries[401] <= 20
            assert tries.keys() == {401, 429}
            time.sleep(2)
            stack.end(name)
            stack.start(name).wait_until_healthy()
        else:
            stack.end(name, signal.SIGKILL if "killed" in fault else signal.SIGINT)
            time.sleep(0 if "flushed" in fault else 4)
            stack.start(name).wait_until_healthy()
        time.sleep(1)
    evidence.keep(
        "R7", fault, answered=answers.total(), failed=failures(answers), answers={str(k): v for k, v in answers.items()}
    )
    assert failures(answers) == 0


def _wrong_password(stack: Stack, account: str) -> int:
    """Behind the proxy, which would say 429 sooner."""
    url = f"http://{stack.running['api-1'].address}:8000/api/v1/auth/login"
    return httpx2.post(url, json={"email": account, "password": "wrong"}, headers={"Host": HOST}).status_code


def test_slow_clients_harm_nobody(stack: Stack, outside: Client) -> None:
    proxy = (stack.running["nginx"].address, 8443)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    slow: list[socket.socket] = []
    for number in range(SLOW_CONNECTIONS):
        plain = socket.create_connection(proxy, source_address=(f"10.203.1.{1 + number % 2}", 0))
        slow.append(plain)
        if number % 10 == 0:  # the others stop in the middle of the handshake
            secure = trust.wrap_socket(plain, server_hostname=HOST)
            half = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: library.test\r\nContent-Length: 9\r\n"
            secure.sendall(half + (b"\r\n{" if number % 20 else b""))
            slow[-1] = secure
    statuses = Counter(outside.get("/health").status_code for _ in range(20))
    time.sleep(12)
    for each in slow:
        each.settimeout(0.2)
    left = sum(_is_open(each) for each in slow)
    for each in slow:
        each.close()
    evidence.keep(
        "R8", "slow", connections=SLOW_CONNECTIONS, still_open=left, others={str(k): v for k, v in statuses.items()}
    )
    assert statuses == {200: 20}
    assert left == 0


def _is_open(connection: socket.socket) -> bool:
    try:
        while connection.recv(4_096):
            pass
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def test_too_much_is_shed_with_a_word(stack: Stack, tmp_path: Path) -> None:
    narrow = {"MAX_CONCURRENCY": "8", "WEB_CONCURRENCY": "1", "RATE_LIMIT_ENABLED": "false", "CACHE_ENABLED": "false"}
    api = stack.start("api", "narrow", environment=narrow)
    try:
        api.wait_until_healthy()
        url = f"http://{api.address}:8000/api/v1/books?q=x"
        capacity = _answered_well(_wrk(url, connections=8))
        pace = tmp_path / "pace.lua"  # five times what it can answer: each of 40 clients asks so often
        pace.write_text(f"function delay() return {40 * LOAD_SECONDS * 1_000 // (5 * capacity)} end\n")
        load = _wrk(url, "-s", str(pace), connections=40)
        ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %header{retry-after}", "-H", f"Host: {HOST}", url]
        seen: Counter[int] = Counter()
        waits: set[str | None] = set()
        for _ in range(30):
            done = subprocess.run(ask, capture_output=True, text=True, check=True)
            status, _, wait = done.stdout.partition(" ")
            seen[int(status)] += 1
            waits.add(wait if status == "503" else None)
        good = _answered_well(load)
        evidence.keep(
            "R8", "overload", seen={str(k): v for k, v in seen.items()}, capacity_per_second=capacity // LOAD_SECONDS,
            asked_of_capacity=5, answered_well_of_capacity=round(good / capacity, 2),
        )  # fmt: skip
        assert good > 0
        assert 503 in seen
        assert set(seen) <= {200, 503}
        assert "" not in waits
    finally:
        stack.end("narrow", signal.SIGKILL)


def _wrk(url: str, *options: str, connections: int) -> subprocess.Popen[str]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{LOAD_SECONDS}s", "-H", f"Host: {HOST}", *options, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _answered_well(load: subprocess.Popen[str]) -> int:
    """How many of the requests got what they asked for."""
    said, _ = load.communicate()
    refused = re.findall(r"Non-2xx or 3xx responses: (\d+)", said) or ["0"]
    return int(re.findall(r"(\d+) requests in", said)[0]) - int(refused[0])
