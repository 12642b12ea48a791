"""A library that is being used: loans and returns one after another, each written down once it is confirmed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.core.db import Database
from app.loans.models import Loan
from tests.circulation import Library

READERS = 4


class Use:
    """What was confirmed: loans by id, with the time after which they were known to stand."""

    def __init__(self) -> None:
        self.confirmed: list[tuple[UUID, datetime]] = []


@asynccontextmanager
async def used(settings: Settings, *, until_it_breaks: bool = False) -> AsyncIterator[Use]:
    """Lend and return while the block runs, or until the database is gone."""
    database, use, stop = Database(settings), Use(), asyncio.Event()
    library = Library(database)
    readers = await library.readers(READERS)
    book = await library.book(copies=READERS)
    copies = await library.copies_of(book)

    async def go_on(number: int) -> None:
        barcode, card = copies[number].barcode, readers[number].card_number
        while not stop.is_set():
            lent = await library.lend(barcode, card)
            use.confirmed.append((lent.loan.id, datetime.now(UTC)))
            await library.give_back(barcode)
            await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(go_on(number)) for number in range(READERS)]
    try:
        yield use
    finally:
        stop.set()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        broken = [end for end in ends if end is not None]
        assert all(isinstance(end, DBAPIError | OSError) for end in broken) if until_it_breaks else not broken, broken
        await database.close()


async def loans_of(settings: Settings) -> set[UUID]:
    database = Database(settings)
    try:
        async with database.reading() as session:
            return set(await session.scalars(select(Loan.id)))
    finally:
        await database.close()
