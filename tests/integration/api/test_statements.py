"""How many statements the desk's steps and lists take: the same however much has piled up (no N+1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from sqlalchemy import event

from app.core import direct
from app.core.db import Database
from app.core.middleware import Shell
from app.policies import service as policies
from app.policies.schemas import PolicyCreate
from benchmarks import past
from tests.circulation import Library
from tests.conftest import Person
from tests.statements import asked

pytestmark = pytest.mark.anyio

ROOT = "/api/v1"
# What a step may take at most: sign-in, key, rules, locks, writes and the answer. Raise it knowingly.
MOST = {"booking": 17, "place in line": 24, "check-out": 17, "return": 30, "list": 8}


@pytest.fixture
async def library(database: Database) -> Library:
    library = Library(database)
    await library.act(
        lambda session, context: policies.add(session, data=PolicyCreate(loan_limit=1_000), now=context.now)
    )
    return library


@contextmanager
def counting(service: Shell) -> Iterator[list[str]]:
    """The statements that the service sends while the block runs."""
    database: Database = service.app.state.database  # type: ignore[attr-defined]  # the FastAPI inside
    engines = {database._writer.sync_engine, database._reader.sync_engine}
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # The first direct one of a transaction comes by both ways, on SQLite with BEGIN between.
        if statement not in sent[-2:]:
            sent.append(statement)

    def values(text: direct.Text, given: Any) -> list[Any]:
        sent.append(text.text)
        return plain(text, given)

    plain = direct.Text.values
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        with patch.object(direct.Text, "values", values):
            yield sent
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


async def statements(service: Shell, request: Any, *, kind: str) -> int:
    """How many statements a request takes, which must succeed."""
    with counting(service) as sent:
        answer: httpx2.Response = await request
    assert answer.is_success, answer.text
    assert len(sent) <= MOST[kind], "\n".join(sent)
    return len(sent)


async def test_a_check_out_and_a_return_take_the_same_for_who_has_borrowed_much(
    service: Shell, library: Library, librarian: Person
) -> None:
    heavy, light = await library.readers(2)
    await past.loans(library.database, heavy.id, await library.book(), open_=100, returned=100)
    [copy] = await library.copies_of(await library.book(copies=1))
    taken = []
    for reader in (light, heavy):
        lending = {"copy_barcode": copy.barcode, "card_number": reader.card_number}
        lent = librarian.client.post(f"{ROOT}/loans", json=lending, headers={"Idempotency-Key": str(reader.id)})
        returned = librarian.client.post(f"{ROOT}/returns", json={"copy_barcode": copy.barcode})
        taken.append(
            (await statements(service, lent, kind="check-out"), await statements(service, returned, kind="return"))
        )
    assert taken[0] == taken[1]


async def test_a_booking_and_a_return_take_the_same_however_many_wait(
    service: Shell, library: Library, librarian: Person
) -> None:
    taken = []
    for waiting in (2, 100):
        book = await library.book(copies=1)
        [copy] = await library.copies_of(book)
        borrower, reader = await library.readers(2)
        await library.lend(copy.barcode, borrower.card_number)
        await past.queue(library.database, book, waiting)
        booking = librarian.client.post(f"{ROOT}/bookings", json={"book_id": book, "card_number": reader.card_number})
        returned = librarian.client.post(f"{ROOT}/returns", json={"copy_barcode": copy.barcode})
        taken.append(
            (
                await statements(service, booking, kind="place in line"),
                await statements(service, returned, kind="return"),
            )
        )
    assert taken[0] == taken[1]


async def test_a_booking_and_a_check_out_run_on_the_driver_but_for_what_begins_them(
    service: Shell, library: Library, librarian: Person
) -> None:
    book, queued = await library.book(copies=1), await library.book()
    [copy] = await library.copies_of(await library.book(copies=1))
    card = (await library.reader()).card_number
    for kind, path, sent in (
        ("booking", "bookings", {"book_id": book, "card_number": card}),
        ("place in line", "bookings", {"book_id": queued, "card_number": card}),
        ("check-out", "loans", {"copy_barcode": copy.barcode, "card_number": card}),
    ):
        with asked() as by_the_session:
            await statements(service, librarian.client.post(f"{ROOT}/{path}", json=sent), kind=kind)
        assert [each.split()[0] for each in by_the_session if "BEGIN" not in each] == ["SELECT"], by_the_session


async def test_a_list_takes_the_same_for_ten_rows_and_for_a_hundred(
    service: Shell, library: Library, librarian: Person
) -> None:
    reader = await library.reader()
    await past.loans(library.database, reader.id, await library.book(), open_=100, returned=20)
    for _ in range(4):
        await past.queue(library.database, await library.book(), 30)
    for path in (f"/users/{reader.id}/loans", "/bookings", "/bookings?status=waiting"):
        taken = []
        for limit in (10, 100):
            asked = librarian.client.get(f"{ROOT}{path}", params={"limit": limit})
            taken.append(await statements(service, asked, kind="list"))
        assert taken[0] == taken[1], path


async def test_the_lists_of_the_desk_take_the_same_for_two_rows_and_for_twenty(
    service: Shell, library: Library, librarian: Person
) -> None:
    for _ in range(20):
        books = [await library.book(copies=1), await library.book(copies=1)]
        readers = await library.readers(2)
        for book, reader in zip(books, readers, strict=True):
            await library.place(reader.id, book)
        [fetched] = await library.copies_of(books[0])
        await library.give_back(fetched.barcode)
    for path in ("/desk/pull-list", "/desk/hold-shelf"):
        taken = []
        for limit in (2, 20):
            answer = await librarian.client.get(f"{ROOT}{path}", params={"limit": limit})
            assert len(answer.json()["items"]) == limit
            asked = librarian.client.get(f"{ROOT}{path}", params={"limit": limit})
            taken.append(await statements(service, asked, kind="list"))
        assert taken[0] == taken[1], path
