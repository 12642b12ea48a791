"""Races for copies: forced interleavings, each of which a weaker lock would lose, on both databases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select, update

from app.bookings import service as bookings
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.db import Database
from app.core.errors import AppError
from app.notifications.models import Notice
from tests.circulation import Library

pytestmark = pytest.mark.anyio

MOMENT_SECONDS = 0.25


@pytest.fixture
def library(database: Database) -> Library:
    return Library(database)


class RolledBack(Exception):
    """Ends a transaction of a test without its effect."""


@asynccontextmanager
async def under_way(library: Library, *, commit: bool, **values: Any) -> AsyncIterator[None]:
    """An edit of all copies that is written but not yet committed while the block runs."""
    with contextlib.suppress(RolledBack):
        async with library.database.transaction() as session:
            await session.execute(update(Copy).values(**values))
            yield
            if not commit:
                raise RolledBack


async def test_a_copy_whose_note_is_being_edited_is_still_promised(library: Library) -> None:
    book = await library.book(copies=1)
    reader = await library.reader()
    async with under_way(library, commit=True, note="torn"):
        placing = asyncio.create_task(library.place(reader.id, book))
        await asyncio.sleep(MOMENT_SECONDS)
        assert not placing.done(), "the booking waits for the edit instead of joining the queue beside a free copy"
    assert (await placing).status == "allocated"
    assert await library.violations() == []


async def test_a_claim_that_rolls_back_leaves_its_copy_to_the_next(library: Library) -> None:
    book = await library.book(copies=1)
    reader = await library.reader()
    async with under_way(library, commit=False, status=CopyStatus.RESERVED):
        placing = asyncio.create_task(library.place(reader.id, book))
        await asyncio.sleep(MOMENT_SECONDS)
        assert not placing.done()
    assert (await placing).status == "allocated"
    assert await library.violations() == []


async def test_a_copy_that_comes_back_while_somebody_books_goes_to_him(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, reader = await library.readers(2)
    await library.lend(copy.barcode, borrower.card_number)
    returned, placed = await asyncio.gather(library.give_back(copy.barcode), library.place(reader.id, book))
    [booking] = await library.bookings_of(book)
    assert booking.status in {"ready", "allocated"}, (returned.action, placed.status)
    assert await library.violations() == []


async def test_two_desks_lend_the_last_copy_once(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    readers = await library.readers(8)
    answers = await asyncio.gather(
        *(library.lend(copy.barcode, reader.card_number) for reader in readers), return_exceptions=True
    )
    refused = [answer.code for answer in answers if isinstance(answer, AppError)]
    assert sorted(refused) == ["copy_on_loan"] * 7
    assert len(await library.loans_of(copy.id)) == 1
    assert await library.violations() == []


async def test_a_reader_who_books_twice_at_once_has_one_booking(library: Library) -> None:
    book = await library.book(copies=3)
    reader = await library.reader()
    answers = await asyncio.gather(*(library.place(reader.id, book) for _ in range(6)), return_exceptions=True)
    assert sorted(answer.code for answer in answers if isinstance(answer, AppError)) == ["already_booked"] * 5
    assert len(await library.bookings_of(book)) == 1
    assert await library.violations() == []


async def test_a_limit_holds_when_all_is_asked_at_once(library: Library) -> None:
    reader = await library.reader()
    books = [await library.book(copies=1) for _ in range(14)]
    answers = await asyncio.gather(*(library.place(reader.id, book) for book in books), return_exceptions=True)
    refused = [answer.code for answer in answers if isinstance(answer, AppError)]
    assert refused == ["booking_limit_reached"] * 4
    assert await library.violations() == []


async def test_booking_and_borrowing_one_book_at_once_leave_only_one_of_them_open(library: Library) -> None:
    for _ in range(5):
        book = await library.book(copies=2)
        copy, _ = await library.copies_of(book)
        reader = await library.reader()
        await asyncio.gather(
            library.place(reader.id, book), library.lend(copy.barcode, reader.card_number), return_exceptions=True
        )
        assert await library.violations() == []


async def test_cancelling_hands_the_copy_on_while_others_join_the_queue(library: Library) -> None:
    book = await library.book(copies=1)
    readers = await library.readers(10)
    first = await library.place(readers[0].id, book)
    await library.place(readers[1].id, book)
    await asyncio.gather(library.cancel(first.id), *(library.place(reader.id, book) for reader in readers[2:]))
    queue = await library.bookings_of(book)
    assert [booking.status for booking in queue] == ["cancelled", "allocated", *["waiting"] * 8]
    assert await library.violations() == []


async def test_the_queue_is_served_in_the_order_in_which_it_was_joined(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, *readers = await library.readers(6)
    await library.lend(copy.barcode, borrower.card_number)
    await asyncio.gather(*(library.place(reader.id, book) for reader in readers))
    served = []
    for _ in readers:
        returned = await library.give_back(copy.barcode)
        assert returned.booking is not None
        served.append(returned.booking.id)
        holder = next(reader for reader in readers if reader.id == returned.booking.reader_id)
        await library.lend(copy.barcode, holder.card_number)
    assert served == [booking.id for booking in await library.bookings_of(book)]
    assert await library.violations() == []


async def test_a_resumed_booking_gets_a_copy_that_was_free_meanwhile(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, reader = await library.readers(2)
    await library.lend(copy.barcode, borrower.card_number)
    booking = await library.place(reader.id, book)
    await library.suspend(booking.id)
    await library.give_back(copy.barcode)
    await library.act(
        lambda session, context: bookings.resume(
            session, booking_id=booking.id, is_mine=lambda _: True, context=context
        )
    )
    assert [found.status for found in await library.bookings_of(book)] == ["allocated"]


async def test_a_copy_carried_off_the_hold_shelf_takes_its_letter_back(library: Library) -> None:
    await library.branch("river")
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    reader = await library.reader()
    await library.place(reader.id, book)
    for branch in ("main", "river", "main"):
        await library.give_back(copy.barcode, branch=branch)
    async with library.database.reading() as session:
        told = list(await session.scalars(select(Notice.kind)))
    assert told == ["booking_ready"]
