"""Deploys by scripts/deploy.sh under load: nobody fails, and nothing that was acknowledged is lost."""

import json
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from tests import evidence
from tests.integration.database.many_loans import FILL
from tests.integration.stack import image, releases
from tests.integration.stack.client import Client, steady
from tests.integration.stack.compose import ROOT
from tests.integration.stack.conftest import IS_FULL
from tests.integration.stack.desk import Desk, Ledger, working
from tests.integration.stack.netns import Host
from tests.integration.stack.running import GATEWAY, SECOND_CLIENT, Stack
from tests.integration.stack.test_database import ask

READ = ("/api/v1/books", "/health", "/docs")
WATCH = ("--percent", "25", "--sample", "60", "--seconds", "12", "--p99", "1")
VERSIONS = {
    "library:2": "0.2.0", "library:3": "0.3.0", "library:failing": "0.4.0", "library:slow": "0.5.0",
    "library:wide": "0.6.0",
}  # fmt: skip
TOO_MANY = 429
OLD_LOANS = 10_000_000 if IS_FULL else 200_000


@dataclass
class Load:
    """What readers and the desk were told while the block ran, and which release answered when."""

    answers: Counter[int | str] = field(default_factory=Counter)
    ledger: Ledger = field(default_factory=Ledger)
    seen: list[tuple[float, float, str]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(count for said, count in self.answers.items() if said not in {200, 429, "asked again"})

    def overlap_seconds(self, old: str, new: str) -> float:
        """How long requests that began after the first answer of the new release were still answered by the old."""
        first = min(ended for _, ended, version in self.seen if version == new)
        return max(0.0, max(began for began, _, version in self.seen if version == old) - first)


@pytest.fixture(scope="module")
def host(stack: Stack) -> Iterator[Host]:
    host = Host(stack)
    host.releases["library:1"] = stack.image_root
    containers = []
    for name, version in VERSIONS.items():
        fault = name.partition(":")[2]
        container, host.releases[name] = releases.make(version, fault if fault in releases.FAULTS else "")
        containers.append(container)
    releases.widen(host.releases["library:wide"])
    (stack.folder / ".env").write_text("LIBRARY_IMAGE=library:1\n")
    with host.listening():
        yield host
        for service, count in (("api", "2"), ("scheduler", "1")):
            host.do("up", service, "library:1", count)
        stack.members("api-1", "api-2")
        host.do("stop", "api-green")
    for container in containers:
        image.forget(container)


@pytest.fixture(scope="module")
def desk(stack: Stack, host: Host) -> Iterator[Desk]:
    with Client(stack, SECOND_CLIENT) as client:
        yield Desk(stack, client, "deploy")


@contextmanager
def load(stack: Stack, desk: Desk) -> Iterator[Load]:
    found, is_over = Load(), threading.Event()

    def watch() -> None:
        # From the desk's address: with the readers it would ask more often than the proxy allows one.
        with Client(stack, SECOND_CLIENT) as client:
            while not is_over.wait(0.05):
                began = time.monotonic()
                try:
                    answer = client.get("/health")
                except httpx2.RemoteProtocolError:
                    continue  # a kept connection that was let go; the readers count what fails
                if answer.status_code != TOO_MANY:
                    found.seen.append((began, time.monotonic(), answer.json()["version"]))

    watcher = threading.Thread(target=watch)
    with steady(stack, GATEWAY, *READ) as answers, working(desk) as ledger:
        found.answers, found.ledger = answers, ledger
        before = len(ledger.refused)
        watcher.start()
        try:
            time.sleep(1)
            yield found
            time.sleep(1)
        finally:
            is_over.set()
            watcher.join()
    found.troubles = troubles(stack)
    found.ledger = Ledger(refused=ledger.refused[before:], sent_again=len(ledger.refused) - before)


def lost_and_doubled(desk: Desk) -> tuple[int, int]:
    loans, bookings = desk.stored("loans"), desk.stored("bookings")
    ledger = desk.ledger
    lost = len({*ledger.loans} - {loan["id"] for loan in loans})
    lost += len({*ledger.bookings} - {booking["id"] for booking in bookings})
    doubled = len(loans) - len(ledger.loans) + len(bookings) - len(ledger.bookings)
    return lost, doubled


def troubles(stack: Stack) -> list[str]:
    """The last words of whoever answered, for whoever has to look into a failure."""
    logs = [path.read_text() for path in sorted(stack.folder.glob("services/api*/log"))]
    return [line for text in logs for line in text.splitlines() if '"error"' in line][-3:]


def judge(
    goal: str, what: str, desk: Desk, found: Load, done: subprocess.CompletedProcess[str], **figures: object
) -> None:
    """Print and keep what was seen; nobody failed, and nothing was lost or done twice."""
    lost, doubled = lost_and_doubled(desk)
    evidence.keep(
        goal, what, answered=found.answers.total(), failed=found.failed, asked_again=found.answers["asked again"],
        sent_again=found.ledger.sent_again, lost_writes=lost, doubled_writes=doubled, **figures,
    )  # fmt: skip
    assert found.failed == 0, (found.answers, found.troubles, done.stdout, done.stderr)
    assert (lost, doubled) == (0, 0)


def test_a_release_takes_the_place_of_another_in_less_than_a_second(stack: Stack, host: Host, desk: Desk) -> None:
    with load(stack, desk) as found:
        done = host.deploy("blue-green", "--image", "library:2")
    assert done.returncode == 0, done.stdout + done.stderr
    record = host.state()["records"][-1]
    judge(
        "R3", "blue-green", desk, found, done, switch_seconds=record["switch_seconds"], took_seconds=record["seconds"],
        overlap_seconds=round(found.overlap_seconds("0.1.0", "0.2.0"), 2), limit_seconds=1,
    )  # fmt: skip
    assert found.seen[-1][2] == "0.2.0"
    assert not found.ledger.refused
    assert "green answers: library:2" in done.stdout
    assert {name for name in stack.running if name.startswith("api")} == {"api-green-1", "api-green-2"}
    assert host.stops[-2:] == [0, 0]


def judged_by(stack: Stack, judge: str) -> tuple[str, ...]:
    """Prometheus learns every 15 s what the log tells at once, so that it has to watch for longer."""
    if judge == "log":
        return WATCH
    return (*WATCH, "--seconds", "45", "--prometheus", f"http://{stack.running['prometheus'].address}:9090")


@pytest.mark.parametrize("judge_of_it", ["log", "prometheus"])
@pytest.mark.parametrize("fault", ["failing", "slow"])
def test_a_bad_canary_is_found_and_gone(stack: Stack, host: Host, desk: Desk, fault: str, judge_of_it: str) -> None:
    version = VERSIONS[f"library:{fault}"]
    with load(stack, desk) as found:
        done = host.deploy("canary", "--image", f"library:{fault}", *judged_by(stack, judge_of_it))
    assert done.returncode == 1, done.stdout
    assert ("it fails more often" if fault == "failing" else "it is slower") in done.stderr
    times = [(began, ended) for began, ended, told in found.seen if told == version]
    gone_after = times[-1][1] - times[0][0]
    assert gone_after <= 60
    what = f"canary {fault}, judged by {judge_of_it}"
    judge("R3", what, desk, found, done, gone_after_seconds=round(gone_after, 1), limit_seconds=60)
    assert found.seen[-1][2] == "0.2.0"
    assert not [name for name in stack.running if name.startswith("api-") and not name.startswith("api-green")]
    assert host.state()["running"]["image"] == "library:2"


def test_a_good_canary_is_promoted(stack: Stack, host: Host, desk: Desk) -> None:
    with load(stack, desk) as found:
        done = host.deploy("canary", "--image", "library:3", *judged_by(stack, "prometheus"))
    assert done.returncode == 0, done.stdout + done.stderr
    judge("R3", "canary promoted", desk, found, done, judged=re.findall(r"promoted: (.*)", done.stdout)[0])
    assert found.seen[-1][2] == "0.3.0"
    assert not found.ledger.refused


def test_one_command_brings_the_release_before_back(stack: Stack, host: Host, desk: Desk) -> None:
    with load(stack, desk) as found:
        done = host.deploy("rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    record = host.state()["records"][-1]
    judge("R3", "rollback", desk, found, done, took_seconds=record["seconds"], switch_seconds=record["switch_seconds"])
    assert found.seen[-1][2] == "0.2.0"
    assert not found.ledger.refused
    assert "Nothing to go back to." in done.stdout
    assert "No release ran here before library:2" in host.deploy("rollback").stderr


def test_a_killed_deploy_goes_on_and_a_second_one_is_refused(
    stack: Stack, host: Host, desk: Desk, tmp_path: Path
) -> None:
    with load(stack, desk) as found:
        command = host.command("blue-green", "--image", "library:3")
        with (tmp_path / "said").open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as first:
            while "· start blue" not in (tmp_path / "said").read_text():
                assert first.poll() is None, (tmp_path / "said").read_text()
                time.sleep(0.05)
            second = host.deploy("blue-green", "--image", "library:1")
            first.kill()
        other = host.deploy("blue-green", "--image", "library:1")
        told = host.deploy("status").stdout
        done = host.deploy("blue-green", "--image", "library:3")
    assert (second.returncode, other.returncode) == (1, 1)
    assert f"Another deploy is at work on this host (process {first.pid}, since" in second.stderr
    assert "A blue-green to library:3" in other.stderr
    assert "blue-green to library:3" in told
    assert done.returncode == 0, done.stdout + done.stderr
    assert "· backup: done already\n· migrate: done already\n" in done.stdout
    judge("R3", "killed and resumed", desk, found, done)
    assert found.seen[-1][2] == "0.3.0"
    assert not found.ledger.refused


def test_a_migration_of_a_big_table_stops_nobody(stack: Stack, host: Host, desk: Desk) -> None:
    with load(stack, desk) as found:
        time.sleep(2)  # the desk makes the loan that is multiplied
    release_before = found.seen[-1][2]
    assert ask(stack, "migrate", FILL.format(count=OLD_LOANS)) == (0, f"INSERT 0 {OLD_LOANS}")
    backup = stack.folder / "scripts" / "backup.sh"
    backup.parent.mkdir()
    backup.write_text("#!/bin/sh\ndate +%s.%N >backed-up\n")
    backup.chmod(0o755)
    with load(stack, desk) as found:
        time.sleep(5)
        done = host.deploy("blue-green", "--image", "library:wide")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " to 9001." in done.stdout
    _, began, ended = host.ran[-1]
    assert float((stack.folder / "backed-up").read_text()) < began.timestamp()
    calm = longest(stack, began - timedelta(seconds=4), began)
    stall = longest(stack, began, ended)
    judge(
        "R4", "migration under load", desk, found, done, rows=OLD_LOANS,
        took_seconds=round((ended - began).total_seconds(), 1),
        longest_stall_seconds=stall, longest_before_seconds=calm, limit_seconds=0.5,
    )  # fmt: skip
    assert not found.ledger.refused
    # The release before runs on the schema of the one that is taken back.
    with load(stack, desk) as found:
        done = host.deploy("rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    judge("R4", "old release on the new schema", desk, found, done)
    assert found.seen[-1][2] == release_before
    assert not found.ledger.refused


def test_the_steps_around_a_release_say_how_it_stands(stack: Stack, host: Host, desk: Desk) -> None:
    refused = host.deploy("check")
    assert (refused.returncode, "there is no docker-compose.yml" in refused.stderr) == (1, True)
    (stack.folder / "docker-compose.yml").write_text((ROOT / "docker-compose.yml").read_text())
    checked, well, seeded = host.deploy("check"), host.deploy("health"), host.deploy("seed", "--image", "library:1")
    assert (checked.returncode, checked.stdout) == (0, "Ready to deploy.\n"), checked.stderr
    assert well.returncode == 0, well.stdout + well.stderr
    assert "NOT WELL" not in well.stdout
    assert seeded.returncode == 1
    assert "not for production" in seeded.stderr
    stack.end("redis")
    ill = host.deploy("health")
    stack.start("redis").wait_until_healthy()
    assert (ill.returncode, "Not well: redis" in ill.stderr) == (1, True), ill.stdout


def longest(stack: Stack, since: datetime, until: datetime) -> float:
    """The longest that anybody waited for an answer that began and ended in this time, streams left out."""
    told = [json.loads(line) for line in stack.running["nginx"].log.read_text().splitlines() if line.startswith("{")]
    within = [
        float(line["seconds"])
        for line in told
        if since.replace(microsecond=0) <= datetime.fromisoformat(line["timestamp"]) <= until + timedelta(seconds=1)
    ]
    return max(within)
