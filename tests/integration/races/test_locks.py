"""One forced interleaving for each lock: a step is written but not committed when the next begins, which must wait.

The second step judges by what the first is about to change. SQLite has one writer at a time: there every second step
waits, and must then do the same.
"""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest

from app.bookings import service as bookings
from app.core.db import Database
from app.idempotency import service as idempotency
from app.idempotency.service import Answer
from app.loans import fading
from app.policies import service as policies
from app.policies.schemas import PolicyCreate
from tests.circulation import Library
from tests.integration.races.interleaving import MOMENT_SECONDS, Inside, behind, merge, remove, renew, resume, undo

pytestmark = pytest.mark.anyio


@pytest.fixture
def library(database: Database) -> Library:
    return Library(database)


async def test_readers_lock_a_limit_counts_the_loan_that_another_desk_is_writing(library: Library) -> None:
    await library.act(lambda session, context: policies.add(session, data=PolicyCreate(loan_limit=1), now=context.now))
    [one] = await library.copies_of(await library.book(copies=1))
    [other] = await library.copies_of(await library.book(copies=1))
    card = (await library.reader()).card_number
    refused = await behind(library, lambda it: it.lend(one.barcode, card), lambda it: it.lend(other.barcode, card))
    assert refused == "loan_limit_reached"


async def test_readers_lock_nobody_books_what_is_being_lent_to_him(library: Library) -> None:
    book = await library.book(copies=2)
    [copy, _] = await library.copies_of(book)
    reader = await library.reader()
    refused = await behind(
        library, lambda it: it.lend(copy.barcode, reader.card_number), lambda it: it.place(reader.id, book)
    )
    assert refused == "already_borrowed"


async def test_books_lock_who_books_during_a_return_gets_the_copy(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, reader = await library.readers(2)
    await library.lend(copy.barcode, borrower.card_number)
    booking = await behind(library, lambda it: it.give_back(copy.barcode), lambda it: it.place(reader.id, book))
    assert booking.status == "allocated"


async def test_books_lock_a_return_sees_who_is_just_joining_the_queue(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, reader = await library.readers(2)
    await library.lend(copy.barcode, borrower.card_number)
    returned = await behind(library, lambda it: it.place(reader.id, book), lambda it: it.give_back(copy.barcode))
    assert returned.action == "hold_shelf"
    assert returned.booking.reader_id == reader.id


async def test_books_lock_of_two_who_join_the_queue_the_second_stands_behind(library: Library) -> None:
    book = await library.book()
    first, second = await library.readers(2)
    booking = await behind(library, lambda it: it.place(first.id, book), lambda it: it.place(second.id, book))
    assert [each.reader_id for each in await library.bookings_of(book)] == [first.id, second.id]
    assert booking.placed_at > (await library.bookings_of(book))[0].placed_at


async def test_books_lock_who_books_while_the_first_copy_is_being_added_gets_it(library: Library) -> None:
    book = await library.book()
    reader = await library.reader()
    booking = await behind(library, lambda it: it.copy(book), lambda it: it.place(reader.id, book))
    assert booking.status == "allocated"


async def test_books_lock_two_recalls_do_not_call_one_loan_back_twice(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, *readers = await library.readers(3)
    await library.lend(copy.barcode, borrower.card_number)
    first, second = (reader.id for reader in readers)
    refused = await behind(library, lambda it: it.recall(first, book), lambda it: it.recall(second, book))
    assert refused == "nothing_to_recall"


async def test_shared_books_lock_a_merge_takes_along_who_is_just_booking(library: Library) -> None:
    kept, merged = await library.book(), await library.book(copies=1)
    reader = await library.reader()
    await behind(library, lambda it: it.place(reader.id, merged), lambda it: merge(it, merged, kept))
    [booking] = await library.bookings_of(kept)
    assert (booking.reader_id, booking.status) == (reader.id, "allocated")


async def test_shared_books_lock_who_books_during_a_merge_is_told_where_the_book_went(library: Library) -> None:
    kept, merged = await library.book(), await library.book(copies=1)
    reader = await library.reader()
    refused = await behind(library, lambda it: merge(it, merged, kept), lambda it: it.place(reader.id, merged))
    assert refused == "book_merged"


async def test_both_books_locks_two_crossing_merges_end_with_one_book(library: Library) -> None:
    one, other = await library.book(copies=1), await library.book(copies=1)
    refused = await behind(library, lambda it: merge(it, one, other), lambda it: merge(it, other, one))
    assert refused == "book_merged"
    assert len(await library.copies_of(other)) == 2


async def test_copys_lock_what_a_booking_is_just_taking_is_not_lent_to_another(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    reader, other = await library.readers(2)
    refused = await behind(
        library, lambda it: it.place(reader.id, book), lambda it: it.lend(copy.barcode, other.card_number)
    )
    assert refused == "promised_to_another"


async def test_copys_lock_what_a_booking_is_just_taking_is_not_removed(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    reader = await library.reader()
    assert await behind(library, lambda it: it.place(reader.id, book), lambda it: remove(it, copy.id)) == "copy_in_use"


async def test_copys_lock_what_is_being_removed_is_neither_promised_nor_lent(library: Library) -> None:
    book = await library.book(copies=2)
    one, other = await library.copies_of(book)
    reader, borrower = await library.readers(2)
    refused = await behind(
        library, lambda it: remove(it, one.id), lambda it: it.lend(one.barcode, borrower.card_number)
    )
    assert refused == "copy_not_found"
    booking = await behind(library, lambda it: remove(it, other.id), lambda it: it.place(reader.id, book))
    assert booking.status == "waiting"


async def test_skipped_lock_who_books_beside_another_takes_the_next_copy_without_waiting(library: Library) -> None:
    book = await library.book(copies=2)
    first, second = await library.readers(2)
    async with library.transaction() as (session, context):
        taken = await Inside(library.database, session, context).place(first.id, book)
        beside = asyncio.create_task(library.place(second.id, book))
        await asyncio.sleep(MOMENT_SECONDS)
        assert beside.done() is not library.database.is_sqlite
    assert (await beside).copy_id not in {taken.copy_id, None}
    assert await library.violations() == []


async def test_lock_of_free_copies_who_resumes_does_not_get_what_another_is_just_taking(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, patient, quick = await library.readers(3)
    await library.lend(copy.barcode, borrower.card_number)
    waits = await library.place(patient.id, book)
    await library.suspend(waits.id)
    await library.give_back(copy.barcode)
    resumed = await behind(library, lambda it: it.place(quick.id, book), lambda it: resume(it, waits.id))
    assert resumed.status == "waiting"


async def test_bookings_lock_what_is_just_being_cancelled_does_not_expire_as_well(library: Library) -> None:
    book = await library.book(copies=1)
    [copy] = await library.copies_of(book)
    reader = await library.reader()
    booking = await library.place(reader.id, book)
    await library.give_back(copy.barcode)
    library.now = datetime.now(UTC) + timedelta(days=30)
    has_expired = await behind(
        library,
        lambda it: it.cancel(booking.id),
        lambda it: it.act(lambda session, context: bookings.expire(session, booking_id=booking.id, context=context)),
    )
    assert has_expired is False


async def test_loans_lock_what_is_just_being_returned_is_not_renewed(library: Library) -> None:
    [copy] = await library.copies_of(await library.book(copies=1))
    lent = await library.lend(copy.barcode, (await library.reader()).card_number)
    refused = await behind(library, lambda it: it.give_back(copy.barcode), lambda it: renew(it, lent.loan.id))
    assert refused == "loan_closed"


async def test_loans_lock_two_desks_that_scan_one_return_end_one_loan(library: Library) -> None:
    [copy] = await library.copies_of(await library.book(copies=1))
    await library.lend(copy.barcode, (await library.reader()).card_number)
    second = await behind(library, lambda it: it.give_back(copy.barcode), lambda it: it.give_back(copy.barcode))
    assert (second.action, second.loan) == ("reshelve", None)


async def test_loans_lock_a_return_scanned_during_the_loan_is_to_be_scanned_again(library: Library) -> None:
    [copy] = await library.copies_of(await library.book(copies=1))
    card = (await library.reader()).card_number
    answer = await behind(library, lambda it: it.lend(copy.barcode, card), lambda it: it.give_back(copy.barcode))
    # Only where both have begun can the second have looked before it waited.
    assert answer == "scan_again" or library.database.is_sqlite


async def test_loans_lock_a_loan_that_just_fades_can_not_be_opened_again(library: Library) -> None:
    [copy] = await library.copies_of(await library.book(copies=1))
    await library.lend(copy.barcode, (await library.reader()).card_number)
    returned = await library.give_back(copy.barcode)
    refused = await behind(
        library,
        lambda it: it.act(
            lambda session, context: fading.fade_loans(session, before=context.now + timedelta(days=1), limit=10)
        ),
        lambda it: undo(it, returned.scan_id),
    )
    assert refused == "scan_overtaken"


async def test_scans_lock_a_scan_is_taken_back_once(library: Library) -> None:
    [copy] = await library.copies_of(await library.book(copies=1))
    lent = await library.lend(copy.barcode, (await library.reader()).card_number)
    again = await behind(library, lambda it: undo(it, lent.scan_id), lambda it: undo(it, lent.scan_id))
    assert again.id == lent.scan_id
    assert [loan.status for loan in await library.loans_of(copy.id)] == ["returned"]


async def test_keys_lock_a_twin_waits_for_the_answer(library: Library) -> None:
    reader = await library.reader()
    answer = Answer(201, {"location": "there"}, b"{}")

    def claim(it: Library) -> Awaitable[Answer | None]:
        return it.act(
            lambda session, context: idempotency.claim(
                session, scope="s", user_id=reader.id, body_digest="d", now=context.now
            )
        )

    async def claim_and_keep(it: Library) -> None:
        assert await claim(it) is None
        await it.act(lambda session, _: idempotency.keep(session, scope="s", answer=answer))

    assert await behind(library, claim_and_keep, claim) == answer
