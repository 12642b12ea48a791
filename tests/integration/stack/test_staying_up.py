"""Restarts and faults under load: readers and signed-in writers notice nothing."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx2
import pytest

from tests import evidence
from tests.integration.stack.client import Client, steady
from tests.integration.stack.conftest import IS_FULL
from tests.integration.stack.crowd import CONNECTIONS, crowd
from tests.integration.stack.desk import Desk, working
from tests.integration.stack.running import GATEWAY, HOST, SECOND_CLIENT, Stack
from tests.integration.stack.sandbox import cut_off

ROUNDS = int(os.environ.get("ROUNDS", "100" if IS_FULL else "3"))
ROUND_SECONDS = 90  # on a busy machine; it takes a third of it
# How long Redis is killed or stands still, under load. Source: R7.
FAULT_SECONDS = int(os.environ.get("OUTAGE", "600" if IS_FULL else "4"))
# Prometheus asks, waits a minute, and Alertmanager gathers for ten seconds.
ALERT_SECONDS = 150
LOAD_SECONDS = 4
CROWD = 80  # more than may stand in line
SEARCH = "/api/v1/books?q=x"
READ = ("/api/v1/books", "/health", "/docs")


def failures(answers: Counter[int | str]) -> int:
    """Everything but an answer that is as it should be; 429 is the proxy keeping its word."""
    return sum(count for answer, count in answers.items() if answer not in {200, 429, "asked again"})


@pytest.mark.timeout(120 + ROUND_SECONDS * ROUNDS)
def test_all_are_restarted_in_turn_and_nobody_notices(stack: Stack) -> None:
    names = ["api-1", "api-2"]
    with Client(stack, SECOND_CLIENT) as client:
        desk = Desk(stack, client, "rolling")
        with crowd(stack, *READ) as told, steady(stack, GATEWAY, *READ) as answers, working(desk) as ledger:
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
    failed = failures(answers) + told.failed + told.unreached
    evidence.keep(
        "R3", "rolling", size=f"{ROUNDS} rounds of {len(names)}", answered=answers.total() + told.answered,
        failed=failed, told_to_wait=told.limited, turned_away=told.turned_away,
        asked_again=answers["asked again"], let_go=told.let_go, written=2 * len(ledger.loans) + ledger.returns,
        sent_again=ledger.sent_again, lost_writes=lost, doubled_writes=doubled,
    )  # fmt: skip
    log = stack.running["nginx"].log.read_text().splitlines()
    assert failed == 0, (told, [line for line in log if '"status":"5' in line or '"status":"499' in line][-5:])
    # Without a processor to work with it says so; that is no restart's doing.
    assert told.turned_away < told.answered / 100
    assert min(told.answered, answers[200]) > 30 * ROUNDS
    # A reload closes what is kept open, once.
    assert told.let_go <= CONNECTIONS * 2 * len(names) * ROUNDS
    assert (lost, doubled) == (0, 0)
    assert len(ledger.loans) > 20
    assert not [said for said in ledger.refused if " 5" in said], ledger.refused
    assert all(loan["returned_at"] for loan in loans)


# Redis with which reading goes well and writing doesn't, and what it says then.
UNWRITABLE = {
    "redis full": (["--maxmemory", "1", "--maxmemory-policy", "noeviction"], "OOM"),
    "redis read-only": (["--replicaof", "127.0.0.1", "1"], "READONLY"),
}


@pytest.mark.timeout(120 + 2 * FAULT_SECONDS)
@pytest.mark.parametrize("fault", ["replica gone", "replica cut off", "redis hung", "redis flushed", "redis killed"])
def test_a_lost_helper_costs_no_answer(stack: Stack, fault: str) -> None:
    name = fault.partition(" ")[0]
    sandbox = stack.running[name]
    assert sandbox.process is not None
    with steady(stack, SECOND_CLIENT, *READ) as answers:
        if fault == "redis hung":
            sandbox.process.send_signal(signal.SIGSTOP)
            time.sleep(FAULT_SECONDS)
            sandbox.process.send_signal(signal.SIGCONT)
        elif fault == "replica cut off":  # what is sent to it gets lost, and nobody says so
            with cut_off(sandbox):
                time.sleep(FAULT_SECONDS)
        else:
            stack.end(name, signal.SIGINT if name == "replica" else signal.SIGKILL)
            time.sleep(0 if "flushed" in fault else FAULT_SECONDS)
            stack.start(name).wait_until_healthy()
        time.sleep(1)
    _tell(fault, answers)
    assert failures(answers) == 0
    if FAULT_SECONDS > ALERT_SECONDS and fault == "redis killed":
        assert stack.pager is not None
        assert "RedisDown" in stack.pager.fired


@pytest.mark.timeout(120 + 2 * FAULT_SECONDS)
@pytest.mark.parametrize("fault", UNWRITABLE)
def test_a_redis_that_takes_nothing_costs_no_answer_and_opens_no_door(stack: Stack, fault: str) -> None:
    options, refusal = UNWRITABLE[fault]
    with steady(stack, SECOND_CLIENT, *READ) as answers:
        command = stack.running["redis"].service.command
        stack.end("redis")
        stack.start("redis", command=[*command, *options]).wait_until_healthy()
        write = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli set x 1"
        assert refusal in stack.running["redis"].run("/bin/sh", "-c", write).stdout
        # Each of two processes counts by itself then: ten tries at one account, and no more.
        tries = Counter(_wrong_password(stack, f"{refusal}@library.test") for _ in range(24))
        assert tries[401] <= 20
        assert tries.keys() == {401, 429}
        time.sleep(FAULT_SECONDS / 2)
        stack.end("redis")
        stack.start("redis").wait_until_healthy()
        time.sleep(1)
    _tell(fault, answers)
    assert failures(answers) == 0


def _tell(fault: str, answers: Counter[int | str]) -> None:
    evidence.keep(
        "R7", fault, size=f"{FAULT_SECONDS} s", answered=answers.total(), failed=failures(answers),
        answers={str(k): v for k, v in answers.items()},
    )  # fmt: skip


def _wrong_password(stack: Stack, account: str) -> int:
    """Behind the proxy, which would say 429 sooner."""
    url = f"http://{stack.running['api-1'].address}:8000/api/v1/auth/login"
    return httpx2.post(url, json={"email": account, "password": "wrong"}, headers={"Host": HOST}).status_code


def test_too_much_is_shed_with_a_word(stack: Stack, tmp_path: Path) -> None:
    narrow = {"WEB_CONCURRENCY": "1", "RATE_LIMIT_ENABLED": "false", "CACHE_ENABLED": "false"}
    api = stack.start("api", "narrow", environment=narrow)
    try:
        api.wait_until_healthy()
        url = f"http://{api.address}:8000{SEARCH}"
        before = api.cpu_seconds()
        capacity, capacity_cpu = _answered_well(_wrk(url, connections=8)), api.cpu_seconds() - before
        pace = tmp_path / "pace.lua"  # so that they all ask for five times what it can answer
        pace.write_text(f"function delay() return {CROWD * LOAD_SECONDS * 1_000 // (5 * capacity)} end\n")
        before = api.cpu_seconds()
        load = _wrk(url, "-s", str(pace), connections=CROWD)
        refused = _refusals(api.address)
        good, good_cpu = _answered_well(load), api.cpu_seconds() - before
    finally:
        stack.end("narrow", signal.SIGKILL)
    for_the_same_work = (good / good_cpu) / (capacity / capacity_cpu)
    waits = sorted(seconds for _, _, seconds in refused)
    median, p95 = waits[len(waits) // 2], waits[len(waits) * 95 // 100]
    evidence.keep(
        "R8", "overload", capacity_per_second=capacity // LOAD_SECONDS, asked_of_capacity=5, refused_seen=len(refused),
        value=round(good / capacity, 2), limit=0.8, answered_for_the_same_work=round(for_the_same_work, 2),
        refused_after_median_ms=round(1_000 * median, 1), refused_after_p95_ms=round(1_000 * p95, 1), limit_ms=50,
    )  # fmt: skip
    assert {(status, bool(wait)) for status, wait, _ in refused} == {(503, True)}
    # What a second brings, and how soon one is heard, depends on what else runs on the machine: limits are told above,
    # and judged are what no other program makes so bad, and the service's own time.
    assert median < 0.25
    assert for_the_same_work > 0.6


def _refusals(address: str) -> list[tuple[int, str | None, float]]:
    """What one more is told while the load lasts, but for what is answered well: status, Retry-After, seconds."""
    found = []
    with closing(HTTPConnection(address, 8000, timeout=10)) as connection:
        ends = time.monotonic() + LOAD_SECONDS - 0.5
        while time.monotonic() < ends:
            began = time.monotonic()
            connection.request("GET", SEARCH, headers={"Host": HOST})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                found.append((answer.status, answer.headers["Retry-After"], time.monotonic() - began))
            time.sleep(0.02)
    return found


def _wrk(url: str, *options: str, connections: int) -> subprocess.Popen[str]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{LOAD_SECONDS}s", "-H", f"Host: {HOST}", *options, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _answered_well(load: subprocess.Popen[str]) -> int:
    """How many of the requests got what they asked for."""
    said, _ = load.communicate()
    refused = re.findall(r"Non-2xx or 3xx responses: (\d+)", said) or ["0"]
    return int(re.findall(r"(\d+) requests in", said)[0]) - int(refused[0])
