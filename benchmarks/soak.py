"""The soak: circulation by many clients while processes are killed and the database is restarted, then the verdict.

Run by `make soak`; `python -m benchmarks.soak --help` lists the sizes. Exits with 1 on any breach.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.core.config import Settings
from app.core.db import Database
from app.jobs import circulation
from benchmarks.soaking import history, verdict, world
from benchmarks.soaking.faults import Faults
from benchmarks.soaking.ledger import TIMEOUT_SECONDS, Ledger
from benchmarks.soaking.world import ROOT, World
from tests import evidence, servers
from tests.conftest import _administer, _migrate, _settings
from tests.integration.commands.command_line import CommandLine, Service
from tests.servers import Postgres

LOOK_EVERY: Final = 150
EXPIRE_EVERY_SECONDS: Final = 20
RESTARTS_AT: Final = (0.3, 0.6, 0.8)
SHOWN: Final = 20


@dataclass(frozen=True)
class Size:
    """How much is done by whom."""

    operations: int
    workers: int
    clients: int
    books: int
    readers: int
    kill_every_seconds: float
    replays: int


FULL: Final = Size(100_000, workers=8, clients=32, books=60, readers=150, kill_every_seconds=25, replays=2_000)
QUICK: Final = Size(2_000, workers=8, clients=32, books=30, readers=100, kill_every_seconds=5, replays=200)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # its servers stop with it
    asked = _arguments()
    size = QUICK if asked.quick else FULL
    if asked.operations:
        size = Size(**{**vars(size), "operations": asked.operations})
    backend = "sqlite" if asked.sqlite else "postgresql"
    print(f"soak on {backend}: {size}, seed {asked.seed}")
    found, figures = soak(size, seed=asked.seed, backend=backend, given=asked.postgres, seconds=asked.seconds)
    for name, value in figures.items():
        print(f"  {name:<24} {value}")
    for breach in found[:SHOWN]:
        print(f"  BREACH {breach}")
    print(f"{len(found)} breaches")
    return 1 if found else 0


def soak(
    size: Size, *, seed: int, backend: str, given: str | None = None, seconds: float | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Run it on servers of its own, or on the PostgreSQL `given`, which is then not restarted: breaches, figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="library-soak-")))
        cluster = None
        if backend == "postgresql" and not given:
            cluster = stack.enter_context(servers.postgres(durable=True))
        url = stack.enter_context(_database(given or (cluster.url if cluster else None), seed))
        settings = _service_settings(folder, url)
        asyncio.run(_migrate(settings))
        library = CommandLine.of(settings)
        with library.serving("--workers", str(size.workers)) as service:
            service.wait_until_all_answer()
            soaking = _Soak(size, seed, settings, service, library, cluster, seconds)
            return asyncio.run(soaking.run())


@dataclass
class _Soak:
    size: Size
    seed: int
    settings: Settings
    service: Service
    library: CommandLine
    cluster: Postgres | None
    seconds: float | None
    ends_at: float | None = None

    async def run(self) -> tuple[list[str], dict[str, Any]]:
        database = Database(self.settings)
        size = self.size
        people = await world.found(database, self.settings, seed=self.seed, books=size.books, readers=size.readers)
        faults = Faults(
            self.service.process.pid,
            self.cluster,
            random.Random(f"faults {self.seed}"),  # noqa: S311  # a load, no secret
            size.kill_every_seconds,
        )
        async with _client(self.service.address) as client:
            ledger = Ledger(client, seed=self.seed)
            started = time.monotonic()
            self.ends_at = started + self.seconds if self.seconds else None
            await self._load(people, ledger, faults, database, client)
            seconds = time.monotonic() - started
            operations = ledger.numbers
            found = [f"under way: {line}" for line in self._invariants()]
            found += await verdict.drain(database, people, ledger)
            replayed = await ledger.replay(size.replays)
        lost = await verdict.effects(database, ledger) + await verdict.answers(database, ledger)
        found += ledger.breaches + lost + await history.breaches(database)
        found += [f"at the end: {line}" for line in self._invariants()]
        await database.close()
        figures = {
            "operations": operations,
            "done": sum(ledger.done.values()),
            "refused": sum(ledger.refused.values()),
            "sent": ledger.sent,
            "unanswered": ledger.unanswered,
            "sent_more_than_once": sum(count for times, count in ledger.repeated.items() if times > 1),
            "replayed_at_the_end": replayed,
            "workers_killed": faults.kills,
            "database_restarts": faults.restarts,
            "operations_per_second": round(operations / seconds, 1),
            "seconds": round(seconds),
            "done_by_kind": dict(ledger.done),
        }
        self._keep(figures, violations=len(found), lost=len(lost))
        return found, figures

    async def _load(
        self, people: World, ledger: Ledger, faults: Faults, database: Database, client: httpx2.AsyncClient
    ) -> None:
        """All operations, with faults meanwhile; returns when each is decided and the database is back."""
        total = self.size.operations
        moments = [asyncio.Event() for _ in RESTARTS_AT]
        killing = asyncio.create_task(faults.kill_workers())
        restarting = asyncio.create_task(faults.restart_database(moments))
        reaching = asyncio.create_task(_reach(moments, ledger, total))
        showing = asyncio.create_task(_show(ledger, total))
        expiring = asyncio.create_task(self._expire(people, database))
        async with asyncio.TaskGroup() as group:
            for _ in range(self.size.clients):
                group.create_task(self._visit(people, ledger, client))
        for moment in moments:
            moment.set()  # if the time was up before
        await restarting
        for task in (besides := (killing, showing, reaching, expiring)):
            task.cancel()
        await asyncio.gather(*besides, return_exceptions=True)

    async def _visit(self, people: World, ledger: Ledger, client: httpx2.AsyncClient) -> None:
        while ledger.numbers < self.size.operations and not (self.ends_at and time.monotonic() > self.ends_at):
            intent = people.next_intent()
            answer = await ledger.settle(intent)
            if answer.is_success:
                people.learn(intent, answer.json())
            else:
                people.forget(intent)
            if ledger.numbers % LOOK_EVERY == 0:
                await _look(people, client)

    async def _expire(self, people: World, database: Database) -> None:
        """What the scheduler does after some weeks; a database that is away is the next run's affair."""
        while True:
            await asyncio.sleep(EXPIRE_EVERY_SECONDS)
            later = datetime.now(UTC) + timedelta(days=people.random.randint(8, 40))
            with suppress(DBAPIError, OSError, TimeoutError, PoolTimeoutError):
                await circulation.expire_holds(database, self.settings, later)

    def _invariants(self) -> list[str]:
        told = self.library.run("job", "run", "invariants")
        return [] if told.returncode == 0 else [told.stdout + told.stderr]

    def _keep(self, figures: dict[str, Any], *, violations: int, lost: int) -> None:
        backend = "sqlite" if self.settings.database_url is None else "postgresql"
        about = {"limit": 0, "seed": self.seed, "commit": _commit(), **figures}
        evidence.keep("R1", backend, value=violations, size=figures["operations"], **about)
        evidence.keep("R2", backend, value=lost, size=figures["operations"], **about)


async def _reach(moments: list[asyncio.Event], ledger: Ledger, total: int) -> None:
    """Set each moment when its share of the operations has begun."""
    for share, moment in zip(RESTARTS_AT, moments, strict=True):
        while ledger.numbers < total * share:  # noqa: ASYNC110  # the ledger counts, it tells nobody
            await asyncio.sleep(0.2)
        moment.set()


async def _look(people: World, client: httpx2.AsyncClient) -> None:
    """Read a pull list and a hold shelf, to know what to do at the desk; no answer, no news."""
    branch = people.branch()
    for page in ("pull-list", "hold-shelf"):
        try:
            answer = await client.get(
                f"{ROOT}/desk/{page}",
                params={"branch": branch, "limit": 100},
                headers={"Authorization": f"Bearer {people.desk()}"},
            )
        except httpx2.TransportError:
            continue
        if answer.is_success:
            people.learn_shelf(answer.json()["items"], branch)


async def _show(ledger: Ledger, total: int) -> None:
    """A bar with the rate on a terminal; elsewhere a line every tenth."""
    rate = TextColumn("{task.fields[rate]:.0f}/s")
    columns = (TextColumn("operations"), BarColumn(), TextColumn("{task.completed}/{task.total}"), rate)
    is_terminal = sys.stderr.isatty()
    started, tenth = time.monotonic(), 0
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), disable=not is_terminal) as bar:
        task = bar.add_task("", total=total, rate=0.0)
        while True:
            done = min(ledger.numbers, total)
            rate_now = done / max(time.monotonic() - started, 0.001)
            bar.update(task, completed=done, rate=rate_now)
            if not is_terminal and done * 10 // total > tenth:
                tenth = done * 10 // total
                print(f"  {done} of {total} operations, {rate_now:.0f}/s", flush=True)
            await asyncio.sleep(0.5)


@asynccontextmanager
async def _client(address: str) -> AsyncIterator[httpx2.AsyncClient]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=address, timeout=TIMEOUT_SECONDS, limits=limits) as client:
        yield client


@contextmanager
def _database(server: str | None, seed: int) -> Iterator[str | None]:
    """A new database on the server, dropped at the end; None without a server."""
    if server is None:
        yield None
        return
    name = f"soak_{seed}_{os.getpid()}"
    asyncio.run(_administer(server, f"CREATE DATABASE {name}"))
    try:
        yield f"{server}/{name}"
    finally:
        asyncio.run(_administer(server, f"DROP DATABASE {name} WITH (FORCE)"))


def _service_settings(folder: Path, url: str | None) -> Settings:
    """As users run it, but with tokens that last, no limits for the few addresses, and a soak's own clock for jobs."""
    return _settings(folder, database_url=url).model_copy(
        update={
            "public_url": "http://localhost",
            "access_token_expire_minutes": 24 * 60,
            "rate_limit_enabled": False,
            "scheduler_enabled": False,
        }
    )


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a size that ends within 90 s on two cores")
    parser.add_argument("--operations", type=int, help="another number of operations")
    parser.add_argument("--seconds", type=float, help="begin nothing after so long, and judge what was done")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311  # a load, no secret
    parser.add_argument("--sqlite", action="store_true", help="on SQLite instead of PostgreSQL")
    parser.add_argument("--postgres", metavar="URL", help="on this PostgreSQL instead of one of its own")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
