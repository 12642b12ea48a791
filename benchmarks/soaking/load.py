"""The load of a soak: clients who want things until enough was wanted, faults meanwhile, the verdict afterwards."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from tests.integration.commands.command_line import CommandLine, Service
from tests.servers import Postgres

LOOK_EVERY: Final = 150
EXPIRE_EVERY_SECONDS: Final = 20
RESTARTS_AT: Final = (0.3, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done by whom; after `seconds` nothing more is begun, and what was done is judged."""

    operations: int
    workers: int
    clients: int
    books: int
    readers: int
    kill_every_seconds: float
    replays: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All breaches; how many of them are operations lost, done twice or answered differently; figures."""

    breaches: list[str]
    broken_promises: int
    figures: dict[str, Any]


@dataclass(slots=True)
class Soak:
    """One soak of a service that answers already."""

    size: Size
    seed: int
    settings: Settings
    service: Service
    library: CommandLine
    cluster: Postgres | None
    began: float = 0.0

    async def run(self) -> Outcome:
        """Make the library, load it, drain it, judge it."""
        size, database = self.size, Database(self.settings)
        people = await world.found(database, self.settings, seed=self.seed, books=size.books, readers=size.readers)
        chance = random.Random(f"faults {self.seed}")  # noqa: S311  # a load, no secret
        faults = Faults(self.service.process.pid, self.cluster, chance, size.kill_every_seconds)
        async with _client(self.service.address) as client:
            ledger = Ledger(client, seed=self.seed)
            self.began = time.monotonic()
            await self._load(people, ledger, faults, database, client)
            seconds, operations = time.monotonic() - self.began, ledger.numbers
            breaches = self._invariants("under way")
            breaches += await verdict.drain(database, people, ledger)
            replayed = await ledger.replay(size.replays)
        broken = [
            *ledger.breaches,
            *map(str, await verdict.effects(database, ledger)),
            *await verdict.answers(database, ledger),
        ]
        breaches += broken + await history.breaches(database) + self._invariants("at the end")
        await database.close()
        figures = {
            "operations": operations,
            "done": ledger.done.total(),
            "refused": ledger.refused.total(),
            "sent": ledger.sent,
            "unanswered": ledger.unanswered,
            "sent_more_than_once": ledger.repeated.total() - ledger.repeated[1],
            "replayed_at_the_end": replayed,
            "workers_killed": faults.kills,
            "database_restarts": faults.restarts,
            "operations_per_second": round(operations / seconds, 1),
            "seconds": round(seconds),
            "done_by_kind": dict(ledger.done),
        }
        return Outcome(breaches, len(broken), figures)

    async def _load(
        self, people: World, ledger: Ledger, faults: Faults, database: Database, client: httpx2.AsyncClient
    ) -> None:
        """All operations, with faults meanwhile; returns when each is decided and the database is back."""
        moments = [asyncio.Event() for _ in RESTARTS_AT]
        killing = asyncio.create_task(faults.kill_workers())
        restarting = asyncio.create_task(faults.restart_database(moments))
        reaching = asyncio.create_task(self._reach(moments, ledger))
        showing = asyncio.create_task(_show(ledger, self.size.operations))
        expiring = asyncio.create_task(self._expire(people, database))
        async with asyncio.TaskGroup() as group:
            for _ in range(self.size.clients):
                group.create_task(self._visit(people, ledger, client))
        await restarting
        for task in (besides := (killing, showing, reaching, expiring)):
            task.cancel()
        await asyncio.gather(*besides, return_exceptions=True)

    async def _visit(self, people: World, ledger: Ledger, client: httpx2.AsyncClient) -> None:
        while self._progress(ledger) < 1:
            await visit(people, ledger, client)

    async def _expire(self, people: World, database: Database) -> None:
        """What the scheduler does after some weeks; a database that is away is the next run's affair."""
        while True:
            await asyncio.sleep(EXPIRE_EVERY_SECONDS)
            later = datetime.now(UTC) + timedelta(days=people.random.randint(8, 40))
            with suppress(DBAPIError, OSError, TimeoutError, PoolTimeoutError):
                await circulation.expire_holds(database, self.settings, later)

    async def _reach(self, moments: list[asyncio.Event], ledger: Ledger) -> None:
        """Set each moment when its share has been done."""
        for share, moment in zip(RESTARTS_AT, moments, strict=True):
            while self._progress(ledger) < share:  # noqa: ASYNC110  # the ledger counts, it tells nobody
                await asyncio.sleep(0.2)
            moment.set()

    def _progress(self, ledger: Ledger) -> float:
        """The share of the operations that were begun, or of the time, whichever is further."""
        gone = (time.monotonic() - self.began) / self.size.seconds if self.size.seconds else 0.0
        return max(ledger.numbers / self.size.operations, gone)

    def _invariants(self, when: str) -> list[str]:
        told = self.library.run("job", "run", "invariants")
        return [] if told.returncode == 0 else [f"{when}: {told.stdout}{told.stderr}"]


async def visit(people: World, ledger: Ledger, client: httpx2.AsyncClient) -> None:
    """Somebody wants one thing until it is decided; the people learn from the answer, and look around now and then."""
    intent = people.next_intent()
    answer = await ledger.settle(intent)
    if answer.is_success:
        people.learn(intent, answer.json())
    else:
        people.forget(intent)
    if ledger.numbers % LOOK_EVERY == 0:
        await _look(people, client)


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
