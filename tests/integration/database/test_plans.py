"""No request reads a whole table that grows with the library, on either database."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from app.core.db import Database
from tests.conftest import Person
from tests.integration.api.desk import API, Desk, book
from tests.integration.database.plans import asked, ways

pytestmark = pytest.mark.anyio

GROWING = {
    "access_points", "audit_entries", "bookings", "books", "copies", "events", "idempotency_keys", "ledger_entries",
    "loans", "notices", "scans", "sessions", "source_records", "uploads", "users",
}  # fmt: skip
# Ways of jobs: what they lead to is all of the library's, not one book's or reader's. SQLite chooses without looking at
# the rows; PostgreSQL, which looks, sees that these tables are all but empty here, and any index does.
FOR_JOBS = {"ix_bookings_pickup_until_ready", "ix_bookings_suspended_until", "ix_loans_due_at_open"}

Ask = Callable[[Desk, Person, Person, int], Awaitable[httpx2.Response]]

REQUESTS: dict[str, Ask] = {
    "the newest books": lambda _, reader, __, ___: reader.client.get(f"{API}/books?sort=newest"),
    "books by title": lambda _, reader, __, ___: reader.client.get(f"{API}/books?sort=title"),
    "a book": lambda _, reader, __, book_id: reader.client.get(f"{API}/books/{book_id}"),
    "its copies": lambda desk, _, __, book_id: desk.client.get(f"{API}/books/{book_id}/copies"),
    "availability": lambda _, reader, __, book_id: reader.client.get(f"{API}/books/{book_id}/availability"),
    "books found by words": lambda _, reader, __, ___: reader.client.get(f"{API}/books?q=dune"),
    "suggestions": lambda _, reader, __, ___: reader.client.get(f"{API}/books/suggest?q=du"),
    "a booking placed": lambda _, reader, __, book_id: book(reader, book_id),
    "a place in the queue": lambda _, __, admin, book_id: book(admin, book_id),
    "own bookings": lambda _, reader, __, ___: reader.client.get(f"{API}/auth/me/bookings"),
    "open bookings of all": lambda desk, _, __, ___: desk.client.get(f"{API}/bookings?status=waiting"),
    "the pull list": lambda desk, _, __, ___: desk.client.get(f"{API}/desk/pull-list"),
    "the hold shelf": lambda desk, _, __, ___: desk.client.get(f"{API}/desk/hold-shelf"),
    "a check-out": lambda desk, reader, _, __: desk.lend("1", reader),
    "own loans": lambda _, reader, __, ___: reader.client.get(f"{API}/auth/me/loans"),
    "a return": lambda desk, _, __, ___: desk.client.post(f"{API}/returns", json={"copy_barcode": "1"}),
    "own charges": lambda _, reader, __, ___: reader.client.get(f"{API}/auth/me/charges"),
    "events": lambda _, __, admin, ___: admin.client.get(f"{API}/events?after=0"),
    "the trail": lambda _, __, admin, ___: admin.client.get(f"{API}/audit"),
    "a reader by his card": lambda desk, reader, _, __: desk.client.get(f"{API}/users?q={reader.card_number}"),
}


async def test_no_request_reads_a_whole_table_that_grows(
    librarian: Person, reader: Person, admin: Person, database: Database
) -> None:
    desk = Desk(librarian)
    book_id = await desk.book("1")
    found: dict[str, set[str]] = {}
    for name, ask in REQUESTS.items():
        with asked() as sent:
            answer = await ask(desk, reader, admin, book_id)
        assert answer.status_code < 400, (name, answer.text)
        assert sent, name
        taken = await ways(database, sent)
        avoided = {"", *(FOR_JOBS if database.is_sqlite else ())}
        wrong = {table for table, index in taken if table in GROWING and index in avoided}
        found |= {name: wrong} if wrong else {}
    assert found == {}
