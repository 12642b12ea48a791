"""A big table gets a column and an index while readers read and a desk lends: how long the longest of them waited."""

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.db import Database
from benchmarks.soaking import world
from benchmarks.soaking.ledger import Ledger
from benchmarks.soaking.load import visit
from tests import evidence, servers
from tests.chaos.load import Recorder
from tests.circulation import Library
from tests.conftest import _administer, _migrate, _settings
from tests.integration.commands.command_line import ROOT, CommandLine
from tests.integration.database.many_loans import fill
from tests.integration.stack import releases

pytestmark = pytest.mark.anyio

FULL = bool(os.environ.get("FULL"))
LOANS = int(os.environ.get("LOANS", "10000000" if FULL else "100000"))
LIMIT_SECONDS = 0.5
CALM_SECONDS = 20 if FULL else 5
READERS, DESKS = 4, 2
PAUSE_SECONDS = 0.05


def next_release(folder: Path) -> Path:
    """The code of the next release, whose migrations go further; the folder that Python finds it in."""
    home = folder / "release" / "srv" / "library"
    home.mkdir(parents=True)
    for name in ("app", "alembic"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    shutil.copy(ROOT / "alembic.ini", home)
    releases.widen(folder / "release")
    return home


@asynccontextmanager
async def used(settings: Settings, database: Database, address: str) -> AsyncIterator[Recorder]:
    """Readers and desks at work while the block runs; what they were told is written down."""
    people = await world.found(database, settings, seed=10, books=40, readers=60)
    tokens = list(people.readers.values())
    async with Recorder(base_url=address, timeout=30) as town:
        ledger = Ledger(town, seed=10)

        async def again_and_again(act: Callable[[], Awaitable[object]]) -> None:
            while True:
                await act()
                await asyncio.sleep(PAUSE_SECONDS)

        def reading(number: int) -> Callable[[], Awaitable[object]]:
            paths = itertools.cycle(["/api/v1/books", "/api/v1/auth/me/loans", "/api/v1/books?q=dune"])
            headers = {"Authorization": f"Bearer {tokens[number]}"}
            return lambda: town.get(next(paths), headers=headers)

        tasks = [asyncio.create_task(again_and_again(reading(number))) for number in range(READERS)]
        tasks += [asyncio.create_task(again_and_again(lambda: visit(people, ledger, town))) for _ in range(DESKS)]
        try:
            yield town
        finally:
            for task in tasks:
                task.cancel()
            broken = [end for end in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(end, Exception)]
        assert not broken, broken
        assert not ledger.breaches


def longest(town: Recorder, since: float, until: float) -> float:
    """The longest that anybody waited for an answer who waited in this time."""
    return max(sent.ended - sent.began for sent in town.sent if sent.ended >= since and sent.began <= until)


@pytest.mark.timeout(7_200 if FULL else 420)
async def test_a_migration_of_ten_million_loans_stops_nobody(tmp_path: Path) -> None:
    with servers.postgres(durable=True) as cluster:
        await _administer(cluster.url, "CREATE DATABASE library")
        settings = _settings(tmp_path, database_url=f"{cluster.url}/library").model_copy(
            update={"public_url": "http://localhost", "rate_limit_enabled": False, "scheduler_enabled": False}
        )
        await _migrate(settings)
        database = Database(settings)
        library = Library(database)
        reader, book = await library.reader(), await library.book(copies=1)
        (copy,) = await library.copies_of(book)
        await library.lend(copy.barcode, reader.card_number)
        await library.give_back(copy.barcode)
        filled = await fill(f"{cluster.url}/library", LOANS)
        commands = CommandLine.of(settings)
        release = await asyncio.to_thread(next_release, tmp_path)
        with commands.serving("--workers", "2") as service:
            await asyncio.to_thread(service.wait_until_all_answer)
            async with used(settings, database, service.address) as town:
                await asyncio.sleep(CALM_SECONDS)
                began = time.monotonic()
                told = await asyncio.to_thread(
                    commands.run, "migrate", PYTHONPATH=str(release), wrapped=["env", "-C", str(release)]
                )
                ended = time.monotonic()
                await asyncio.sleep(1)
        await database.close()
    assert told.returncode == 0, told
    assert "9001" in told.stdout
    failed = [sent for sent in town.sent if sent.has_failed]
    calm = longest(town, began - CALM_SECONDS, began)
    stall = longest(town, began, ended)
    evidence.keep(
        "R4", "a big table", value=round(stall, 3), limit=LIMIT_SECONDS, unit="seconds, the longest wait",
        size=f"{LOANS} loans, filled in {filled:.0f} s", longest_before_seconds=round(calm, 3),
        migrated_in_seconds=round(ended - began, 1), requests=len(town.sent), failed=len(failed),
    )  # fmt: skip
    assert not failed, [str(each) for each in failed[:3]]
    # A machine that others load stands still by itself now and then.
    assert stall <= max(LIMIT_SECONDS, 2 * calm)
