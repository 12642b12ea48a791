"""Whoever waits behind a merge goes on with the book that was kept, on PostgreSQL; SQLite has one writer at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from app.copies.models import Copy
from app.core.db import Database
from app.loans import service as loans
from app.users.models import User
from tests.circulation import Library

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["postgresql"])]

MOMENT_SECONDS = 0.25
Step = Callable[[Library, Copy, User], Coroutine[Any, Any, None]]


async def _lend(library: Library, copy: Copy, reader: User) -> None:
    await library.lend(copy.barcode, reader.card_number)


async def _give_back(library: Library, copy: Copy, _: User) -> None:
    await library.give_back(copy.barcode)


async def _cancel(library: Library, copy: Copy, _: User) -> None:
    await library.cancel((await library.bookings_of(copy.book_id))[0].id)


async def _set_aside(library: Library, copy: Copy, _: User) -> None:
    await library.restate(copy.id, "in_repair")


async def _renew(library: Library, copy: Copy, _: User) -> None:
    [loan] = await library.loans_of(copy.id)
    await library.act(
        lambda session, context: loans.renew(session, loan_id=loan.id, is_mine=lambda _: True, context=context)
    )


@pytest.mark.parametrize(
    ("begins_with", "step"),
    [
        ("booked", _lend),
        ("booked", _cancel),
        ("booked", _give_back),
        ("booked", _set_aside),
        ("lent", _give_back),
        ("lent", _renew),
    ],
)
async def test_what_waits_behind_a_merge_goes_on_with_the_book_that_was_kept(
    database: Database, begins_with: str, step: Step
) -> None:
    library = Library(database)
    kept, merged = await library.book(), await library.book(copies=1)
    [copy] = await library.copies_of(merged)
    reader = await library.reader()
    if begins_with == "lent":
        await library.lend(copy.barcode, reader.card_number)
    else:
        await library.place(reader.id, merged)
    async with library.transaction() as (session, context):
        await loans.merge(session, source_id=merged, target_id=kept, context=context)
        waiting = asyncio.create_task(step(library, copy, reader))
        await asyncio.sleep(MOMENT_SECONDS)
        assert not waiting.done(), "it must have waited for the merge"
    await waiting
    assert [found.book_id for found in await library.copies_of(kept)] == [kept]
    assert await library.violations() == []
