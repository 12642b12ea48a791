"""Taking a scan back after something else has happened: never into a state that must not be."""

from uuid import UUID

import pytest

from app.copies import service as copies
from app.core.db import Database
from app.core.errors import AppError
from app.loans import service as loans
from tests.circulation import Library

pytestmark = pytest.mark.anyio


@pytest.fixture
def library(database: Database) -> Library:
    return Library(database)


async def undo(library: Library, scan_id: UUID | None) -> None:
    assert scan_id
    await library.act(lambda session, context: loans.undo(session, scan_id=scan_id, context=context))


async def test_a_return_of_a_copy_that_was_removed_since_stays(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    reader = await library.reader()
    await library.lend(copy.barcode, reader.card_number)
    returned = await library.give_back(copy.barcode)
    await library.act(
        lambda session, context: copies.remove(session, copy_id=copy.id, if_match=None, currency="EUR", now=context.now)
    )
    with pytest.raises(AppError) as refused:
        await undo(library, returned.scan_id)
    assert refused.value.code == "scan_overtaken"
    assert await library.violations() == []


async def test_a_booking_stays_closed_if_its_reader_has_another_copy_by_now(library: Library) -> None:
    book = await library.book(copies=2)
    first, second = await library.copies_of(book)
    reader = await library.reader()
    await library.place(reader.id, book)
    lent = await library.lend(first.barcode, reader.card_number)
    await library.lend(second.barcode, reader.card_number)
    await undo(library, lent.scan_id)
    assert await library.violations() == []


async def test_a_suspended_booking_is_suspended_again(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, reader, other = await library.readers(3)
    await library.lend(copy.barcode, borrower.card_number)
    waits = await library.place(reader.id, book)
    await library.suspend(waits.id)
    await library.give_back(copy.barcode)
    lent = await library.lend(copy.barcode, reader.card_number)
    await library.place(other.id, book)
    await undo(library, lent.scan_id)
    assert [booking.status for booking in await library.bookings_of(book)] == ["suspended", "ready"]
    assert await library.violations() == []
