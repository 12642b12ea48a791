"""A rush over HTTP: many readers book the same books at once; each copy is promised once and none is left (P7)."""

import asyncio
import json
import time
from collections import Counter
from contextlib import ExitStack
from typing import Final

from app.core.config import Settings
from app.core.db import Database
from app.users.models import Role
from benchmarks.client import Client
from benchmarks.judging import Figure, at_least, at_most
from benchmarks.parts.lendable import lendable
from benchmarks.stage import Stage
from tests.circulation import Library

COPIES: Final = 50
CLIENTS: Final = 64
BOOKS_A_TOKEN: Final = 20
FIRST_BOOK: Final = 2
FIRST_COPY: Final = 10_000_000
CREATED: Final = 201
TOO_BUSY: Final = 503


def measure(stage: Stage) -> list[Figure]:
    books, readers = (2, 150) if stage.quick else (100, 1_000)
    library = lendable(stage, "rushing")
    copies = FIRST_COPY + COPIES * books
    for statement in (
        f"UPDATE copies SET book_id = {FIRST_BOOK} + (id - {FIRST_COPY}) / {COPIES} WHERE id < {copies}",
        f"UPDATE copies SET status = 'withdrawn' WHERE id >= {copies} AND book_id < {FIRST_BOOK + books}",
    ):
        stage.administer(statement, database="rushing")
    refused = Counter[str]()
    seconds = 0.0
    with ExitStack() as stack:
        server = stage.serve(stack, library.settings, cores="0,1", WEB_CONCURRENCY="2")
        for first in range(FIRST_BOOK, FIRST_BOOK + books, BOOKS_A_TOKEN):
            tokens = library.tokens(Role.READER, readers)
            began = time.monotonic()
            refused += asyncio.run(
                _rush(server.address, tokens, range(first, min(first + BOOKS_A_TOKEN, FIRST_BOOK + books)))
            )
            seconds += time.monotonic() - began
    if refused:
        raise RuntimeError(f"bookings were refused: {refused}")
    promised, breaches = asyncio.run(_promised(stage, library.settings, books))
    exactly = sum(count == COPIES for count in promised) / books
    over = sum(max(0, count - COPIES) for count in promised) + breaches
    detail = f"{books * readers / seconds:.0f} a second, {readers} readers, {books} books of {COPIES} copies"
    return [
        at_least(
            "P7", "books in a rush of which exactly the copies there were are promised, share", exactly, 1, detail
        ),
        at_most("P7", "copies oversold and invariants broken", over, 0, f"{books * readers:,} tries"),
    ]


async def _rush(address: str, tokens: list[str], books: range) -> Counter[str]:
    """All readers want one book, then all the next; who was told that too much is going on asks again.

    How often which other refusal came.
    """
    tries = [(book, token) for book in books for token in tokens]
    tries.reverse()
    refused = Counter[str]()

    async def one_by_one() -> None:
        client = await Client.connected(address)
        while tries:
            book, token = tries.pop()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            answer = await client.ask("POST", "/api/v1/bookings", body=b'{"book_id":%d}' % book, headers=headers)
            if answer.status == TOO_BUSY:
                tries.append((book, token))
            elif answer.status != CREATED:
                refused[json.loads(answer.body)["code"]] += 1
        client.close()

    await asyncio.gather(*(one_by_one() for _ in range(CLIENTS)))
    return refused


async def _promised(stage: Stage, settings: Settings, books: int) -> tuple[list[int], int]:
    """How many copies of each book are promised, and how many invariants don't hold."""
    database = Database(settings)
    breaches = len(await Library(database).violations())
    await database.close()
    counted = [
        await asyncio.to_thread(
            stage.ask,
            f"SELECT count(DISTINCT copy_id) + count(*) - count(DISTINCT (reader_id, book_id)) FROM bookings"
            f" WHERE book_id = {book} AND copy_id IS NOT NULL",
            database="rushing",
        )
        for book in range(FIRST_BOOK, FIRST_BOOK + books)
    ]
    return counted, breaches
