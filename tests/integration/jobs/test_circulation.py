"""Circulation by the clock: pickups that expire, reminders, links that fade, and the checker."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.bookings.models import Booking
from app.books import holding, queries
from app.books.models import Book
from app.books.schemas import BookQuery
from app.charges.models import Entry
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.config import Settings
from app.core.db import Database
from app.jobs import circulation, notices
from app.jobs.failures import JobFailed
from app.loans.models import Loan, Scan
from app.notifications.models import Notice
from app.users.models import User
from tests.circulation import Library

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def library(database: Database) -> Library:
    library = Library(database)
    library.now = NOW
    return library


async def rows(database: Database, statement: Any) -> list[Any]:
    async with database.reading() as session:
        return list(await session.scalars(statement))


async def test_a_copy_that_is_not_collected_goes_to_the_next_once_however_many_run(
    library: Library, database: Database, settings: Settings
) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    readers = await library.readers(2)
    for reader in readers:
        await library.place(reader.id, book)
    await library.give_back(copy.barcode)
    assert await circulation.expire_holds(database, settings, NOW) == {"expired": 0}
    later = NOW + timedelta(days=9)
    results = await asyncio.gather(*(circulation.expire_holds(database, settings, later) for _ in range(4)))
    assert sum(result["expired"] for result in results) == 1
    assert [booking.status for booking in await library.bookings_of(book)] == ["expired", "allocated"]
    told = await rows(database, select(Notice).order_by(Notice.id))
    assert [(notice.kind, notice.reader_id) for notice in told] == [("booking_expired", readers[0].id)]
    assert await library.violations() == []


async def test_popularity_is_how_often_a_book_was_lent_within_a_year(
    library: Library, database: Database, settings: Settings
) -> None:
    wanted, forgotten = await library.book(copies=1), await library.book(copies=1)
    reader = await library.reader()
    for book, times in ((wanted, 3), (forgotten, 1)):
        [copy] = await library.copies_of(book)
        for _ in range(times):
            await library.lend(copy.barcode, reader.card_number)
            await library.give_back(copy.barcode)
    assert await circulation.count_popularity(database, settings, NOW) == {"books": 2}
    assert await circulation.count_popularity(database, settings, NOW) == {"books": 0}
    query = {"sort": "popularity", "limit": 2}
    async with database.reading() as session:
        page = await queries.page(session, BookQuery.model_validate(query))
    assert [row.id for row in page.rows] == [wanted, forgotten]
    a_year_later = NOW + timedelta(days=366)
    assert await circulation.count_popularity(database, settings, a_year_later) == {"books": 2}
    assert [(book.version, book.popularity) for book in await rows(database, select(Book))] == [(1, 0), (1, 0)]


@pytest.mark.parametrize("backend", ["postgresql"])  # SQLite has one writer at a time: there is nobody beside it
async def test_popularity_waits_for_nobody_who_holds_a_book(
    library: Library, database: Database, settings: Settings
) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    await library.lend(copy.barcode, (await library.reader()).card_number)
    async with database.transaction() as session:
        await holding.hold(session, book_id=book)
        assert await circulation.count_popularity(database, settings, NOW) == {"books": 0}
    assert await circulation.count_popularity(database, settings, NOW) == {"books": 1}


async def test_a_reader_is_told_once_that_his_book_is_ready_and_not_after_he_has_it(
    library: Library, database: Database
) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    reader = await library.reader()
    await library.place(reader.id, book)
    for _ in range(3):
        await library.give_back(copy.barcode)
    [notice] = await rows(database, select(Notice))
    assert (notice.kind, notice.payload["title"], notice.payload["pickup_until_on"]) == (
        "booking_ready", "Dune", "2026-03-09"
    )  # fmt: skip
    async with database.reading() as session:
        assert await notices.still_true(session, notice, timezone="UTC")
    await library.lend(copy.barcode, reader.card_number)
    assert await rows(database, select(Notice)) == []
    async with database.reading() as session:
        assert not await notices.still_true(session, notice, timezone="UTC"), "one that was being sent is dropped"


async def test_reminders_go_out_once_a_step_and_stop_with_the_return(
    library: Library, database: Database, settings: Settings
) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    reader = await library.reader()
    due_at = (await library.lend(copy.barcode, reader.card_number)).loan.due_at
    told: dict[int, int] = {}
    for days in (-10, -3, -2, 0, 1, 2, 7, 8, 21, 22, 40):
        for _ in range(2):
            result = await circulation.remind(database, settings, due_at + timedelta(days=days, minutes=1))
            told[days] = told.get(days, 0) + result["told"]
    assert {days for days, count in told.items() if count} == {-3, 1, 8, 22}
    assert max(told.values()) == 1
    found = await rows(database, select(Notice).order_by(Notice.id))
    assert [notice.kind for notice in found] == ["due_soon", "overdue_1", "overdue_2", "overdue_3"]
    async with database.reading() as session:
        assert await notices.still_true(session, found[-1], timezone="UTC")
    await library.give_back(copy.barcode)
    assert await rows(database, select(Notice)) == []
    async with database.reading() as session:
        assert not await notices.still_true(session, found[-1], timezone="UTC")


async def test_what_was_returned_fades_from_who_keeps_no_history(
    library: Library, database: Database, settings: Settings
) -> None:
    book = await library.book(copies=2)
    first, second = await library.copies_of(book)
    forgetful, keeper = await library.readers(2)
    async with database.transaction() as session:
        await session.execute(update(User).where(User.id == keeper.id).values(keeps_history=True))
    for copy, reader in ((first, forgetful), (second, keeper)):
        await library.place(reader.id, book)
        await library.lend(copy.barcode, reader.card_number)
    async with database.transaction() as session:
        await session.execute(update(Loan).values(due_at=NOW - timedelta(days=5)))
    for copy in (first, second):
        await library.give_back(copy.barcode)
    await circulation.purge_history(database, settings, NOW + timedelta(days=29))
    assert len(await rows(database, select(Loan).where(Loan.reader_id.is_not(None)))) == 2
    await circulation.purge_history(database, settings, NOW + timedelta(days=31))
    assert await rows(database, select(Loan.reader_id)) != [forgetful.id, keeper.id]
    assert await rows(database, select(Loan.reader_id).where(Loan.reader_id.is_not(None))) == [keeper.id]
    assert await rows(database, select(Booking.reader_id).where(Booking.reader_id.is_not(None))) == [keeper.id]
    assert await rows(database, select(Scan)) == []
    assert (
        await rows(database, select(Entry).where(Entry.subject == forgetful.pseudonym, Entry.loan_id.is_not(None)))
        == []
    )
    assert len(await library.loans_of(first.id)) == 1, "the loan itself stays, for the statistics"


async def test_a_suspended_booking_waits_again_on_its_day(
    library: Library, database: Database, settings: Settings
) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, reader = await library.readers(2)
    await library.lend(copy.barcode, borrower.card_number)
    booking = await library.place(reader.id, book)
    async with database.transaction() as session:
        await session.execute(update(Booking).values(status="suspended", suspended_until=date(2026, 3, 10)))
    await library.give_back(copy.barcode)
    assert (await library.copies_of(book))[0].status == "available"
    assert await circulation.resume_bookings(database, settings, NOW) == {"resumed": 0}
    assert await circulation.resume_bookings(database, settings, NOW + timedelta(days=8)) == {"resumed": 1}
    assert [(found.id, found.status) for found in await library.bookings_of(book)] == [(booking.id, "allocated")]
    assert await library.violations() == []


async def test_the_checker_names_what_contradicts_itself(
    library: Library, database: Database, settings: Settings
) -> None:
    book = await library.book(copies=1)
    reader = await library.reader()
    await library.place(reader.id, book)
    assert await circulation.check_invariants(database, settings, NOW) == {"violations": []}
    async with database.transaction() as session:
        await session.execute(update(Copy).values(status=CopyStatus.AVAILABLE))
    with pytest.raises(JobFailed) as failure:
        await circulation.check_invariants(database, settings, NOW)
    assert "invariant 5" in str(failure.value.result)
