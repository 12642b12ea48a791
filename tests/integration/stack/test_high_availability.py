"""docker-compose.ha.yml: a primary is lost in every way, and what was acknowledged is not."""

import asyncio
import itertools
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx2
import pytest

from tests import evidence
from tests.integration.stack.cluster import ETCD, NODES, OVERRIDE, REST, Cluster, Direct, database_url
from tests.integration.stack.conftest import IS_FULL
from tests.integration.stack.desk import Desk, Ledger, working
from tests.integration.stack.running import Stack
from tests.integration.stack.test_database import ask
from tests.integration.stack.writer import LOST, TABLE, Writer

pytestmark = pytest.mark.timeout(3_000 if IS_FULL else 420)
# A request is sent again until the longest gap is over.
TRIES: Final = 400
ETCD_SECONDS: Final = 30 if IS_FULL else 8
FOUND: Final = "SELECT number, count(*) AS times FROM written WHERE number > $1 GROUP BY number"


@dataclass(frozen=True)
class Fault:
    """What happens, how often here and in the full run, and how long nothing may be written meanwhile."""

    happens: Callable[[Cluster, Writer], object]
    times: int
    full_times: int
    limit_seconds: float


def node_killed(cluster: Cluster, writer: Writer) -> None:
    """It stays away until another one has taken over."""
    _away(cluster, writer, cluster.primary())


def standby_killed(cluster: Cluster, writer: Writer) -> None:
    """Commits wait for it until another one has its place."""
    _away(cluster, writer, cluster.standby())


def _away(cluster: Cluster, writer: Writer, name: str) -> None:
    cluster.end_node(name)
    writer.wait_for_one(time.monotonic() + 1)
    cluster.start_node(name)


def patroni_killed(cluster: Cluster, _writer: Writer) -> None:
    name = cluster.primary()
    cluster.kill_patroni(name)
    cluster.revive(name)


def etcd_killed(cluster: Cluster, _writer: Writer) -> None:
    """All of it, for longer than a primary may go without its key."""
    for name in ETCD:
        cluster.stack.end(name, signal.SIGKILL)
    time.sleep(ETCD_SECONDS)
    for name in ETCD:
        cluster.stack.start(name)


FAULTS: Final = {
    "restarted": Fault(
        lambda cluster, _: cluster.control("restart", "database", cluster.primary(), "--force"), 2, 50, 3
    ),
    "switched over": Fault(lambda cluster, _: cluster.control("switchover", "database", "--force"), 2, 50, 5),
    "primary killed": Fault(lambda cluster, _: cluster.kill_postgres(cluster.primary()), 2, 50, 15),
    "patroni killed": Fault(patroni_killed, 1, 50, 15),
    "node killed": Fault(node_killed, 1, 50, 25),
    "standby killed": Fault(standby_killed, 1, 10, 15),
    "etcd killed": Fault(etcd_killed, 1, 5, 3),
}


@pytest.fixture(scope="module")
def cluster(image_root: Path) -> Iterator[Cluster]:
    """Three nodes and what the library's writes need besides, beside the stack of the other tests."""
    folder = Path(tempfile.mkdtemp(prefix="library-ha-"))
    stack = Stack(folder, image_root, OVERRIDE, number=2)
    cluster = Cluster(stack)
    began = time.monotonic()
    try:
        stack.open()
        cluster.start()
        evidence.keep("R5", "started", seconds=round(time.monotonic() - began, 1))
        _ask(database_url(stack, "migrate", stack.running["db"].address), TABLE)
        yield cluster
    finally:
        stack.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def desk(cluster: Cluster) -> Iterator[Desk]:
    client = Direct(cluster.stack)
    yield Desk(cluster.stack, client, "ha", tries=TRIES)
    client.close()


def test_a_node_is_what_a_single_server_is(cluster: Cluster) -> None:
    """The roles, their limits, and what a commit is worth."""
    stack = cluster.stack
    for setting in ("synchronous_commit", "fsync", "full_page_writes", "data_checksums"):
        assert ask(stack, "app", f"SHOW {setting}") == (0, "on")
    assert ask(stack, "app", "SHOW synchronous_standby_names")[1] == f'"{cluster.standby()}"'
    assert ask(stack, "app", "SHOW statement_timeout") == (0, "2s")
    assert "permission denied" in ask(stack, "app", "CREATE TABLE x ()")[1]
    assert ask(stack, "superuser", "SELECT 1")[0]
    assert ask(stack, "app", "SELECT pg_is_in_recovery()", service="replica") == (0, "t")


def test_nobody_else_tells_a_node_what_to_do(cluster: Cluster) -> None:
    for name in NODES:
        url = f"http://{cluster.node(name).address}:{REST}/restart"
        assert httpx2.post(url, json={}).status_code in {401, 403}
        # Nor by the password alone: whoever changes something is asked from a node.
        known = ("patroni", (cluster.stack.folder / "secrets" / "patroni_password").read_text())
        assert httpx2.post(url, json={}, auth=known).status_code == 403


@pytest.mark.parametrize("kind", FAULTS)
def test_what_was_acknowledged_outlives(cluster: Cluster, desk: Desk, kind: str) -> None:
    fault = FAULTS[kind]
    times = fault.full_times if IS_FULL else fault.times
    gaps: list[float] = []
    wholes: list[float] = []
    first = (list(FAULTS).index(kind) + 1) * 1_000_000
    began = time.monotonic()
    with _writer(cluster, first) as writer, working(desk) as ledger:
        writer.wait_for_one(time.monotonic())
        for _ in range(times):
            at = time.monotonic()
            fault.happens(cluster, writer)
            writer.wait_for_one(time.monotonic())
            wholes.append(cluster.wait_until_whole())
            gaps.append(writer.gap_seconds(at))
    waited = _longest(ledger, began)
    figures = _judged(cluster, desk, writer, ledger)
    evidence.keep(
        "R5", kind, size=times, value=round(max(gaps), 2), limit=fault.limit_seconds,
        gap_seconds=[round(gap, 2) for gap in gaps], through_api_seconds=round(waited, 2),
        whole_again_seconds=round(max(wholes), 1), took_seconds=round(time.monotonic() - began), **figures,
    )  # fmt: skip
    assert figures["lost"] == figures["doubled"] == figures["desk_lost"] == figures["desk_doubled"] == 0
    assert max(gaps) <= fault.limit_seconds, gaps


def test_a_primary_that_is_cut_off_stops_before_another_begins(cluster: Cluster, desk: Desk) -> None:
    """Its clients still reach it, and etcd and the other nodes don't."""
    times = 5 if IS_FULL else 1
    heads: list[float] = []
    gaps: list[float] = []
    for number in range(times):
        name = cluster.primary()
        near = database_url(cluster.stack, "app", cluster.node(name).address)
        first = 100_000_000 * (number + 1)
        with (
            _writer(cluster, first) as writer,
            Writer(near, first + 50_000_000) as beside,
            working(desk) as ledger,
        ):
            writer.wait_for_one(time.monotonic())
            cluster.wait_until_whole()
            at = time.monotonic()
            with cluster.cut_off(name):
                stopped_at = _stopped(near)
                writer.wait_for_one(max(stopped_at, time.monotonic()))
                last_beside = beside.acknowledged[-1][1]
            (begun_at, *_) = (when for _, when in writer.acknowledged if when > stopped_at)
            gaps.append(writer.gap_seconds(at))
            cluster.wait_until_whole()
        assert cluster.primary() != name
        heads.append(begun_at - stopped_at)
        # A write that was under way when the cut came is none that was accepted after it.
        assert last_beside - at < 1, "the cut off node acknowledged a write"
        for each in (writer, beside):
            figures = _judged(cluster, desk, each, ledger)
            assert figures["lost"] == figures["doubled"] == figures["desk_lost"] == figures["desk_doubled"] == 0
    evidence.keep(
        "R5", "cut off", size=times, value=round(max(gaps), 2), limit=30, stopped_before_seconds=round(min(heads), 1),
        lost=0, doubled=0,
    )  # fmt: skip
    assert min(heads) > 0
    assert max(gaps) <= 30


def test_backups_follow_the_primary(cluster: Cluster) -> None:
    if cluster.primary() == "db-1":
        cluster.control("switchover", "database", "--force")
        cluster.wait_until_whole()
    backup = cluster.node("backup")
    for command in ("mark", "run", "check"):
        done = backup.run("library", "backup", command)
        assert done.returncode == 0, done.stdout + done.stderr


def _writer(cluster: Cluster, first: int) -> Writer:
    return Writer(_url(cluster), first, cluster.said)


def _url(cluster: Cluster) -> str:
    return database_url(cluster.stack, "app", cluster.stack.running["db"].address)


def _ask(url: str, statement: str, *values: Any) -> list[Any]:
    async def asked() -> list[Any]:
        connection = await asyncpg.connect(url, timeout=2)
        try:
            return list(await connection.fetch(statement, *values, timeout=20))
        finally:
            await connection.close(timeout=2)

    return asyncio.run(asked())


def _stopped(url: str) -> float:
    """When a server no longer takes writes: it says that it follows, or nothing."""
    while True:
        try:
            if _ask(url, "SELECT pg_is_in_recovery()")[0][0]:
                return time.monotonic()
        except LOST:
            return time.monotonic()
        time.sleep(0.1)


def _longest(ledger: Ledger, since: float) -> float:
    """How long the desk had to wait, at most."""
    times = [since, *(at for at in ledger.answered_at if at > since)]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def _judged(cluster: Cluster, desk: Desk, writer: Writer, ledger: Ledger) -> dict[str, int]:
    """What of the ledgers is not there, and what is there twice."""
    rows = {row["number"]: row["times"] for row in _ask(_url(cluster), FOUND, writer.first)}
    told = {number for number, _ in writer.acknowledged}
    loans, bookings = desk.stored("loans"), desk.stored("bookings")
    lost = len({*ledger.loans} - {loan["id"] for loan in loans})
    lost += len({*ledger.bookings} - {booking["id"] for booking in bookings})
    # In the gap the service says "not now"; that it failed it never says.
    unfit = [said for said in ledger.refused if ": 5" in said and not (": 503" in said and "(retry=None)" not in said)]
    assert not unfit, unfit
    return {
        "written": len(told), "lost": len(told - rows.keys()), "doubled": sum(n - 1 for n in rows.values()),
        "desk_written": len(ledger.answered_at), "desk_lost": lost,
        "desk_doubled": len(loans) - len(ledger.loans) + len(bookings) - len(ledger.bookings),
        "sent_again": ledger.sent_again,
    }  # fmt: skip
