"""Many readers and desks at once over HTTP, against four processes of the real service, on both databases."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from app.audit.models import Event
from app.core.config import Settings
from app.core.db import Database
from app.users.models import User
from tests.circulation import Library
from tests.integration.commands.command_line import CommandLine
from tests.tokens import librarian, sign_in

pytestmark = pytest.mark.anyio

PROCESSES = "4"
READERS = 40
COPIES = 5
ROOT = "/api/v1"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Tokens are signed before the service has a port; forty readers at one address are no attack."""
    return settings.model_copy(update={"public_url": "http://localhost", "rate_limit_enabled": False})


@pytest.fixture
def library(database: Database) -> Library:
    return Library(database)


@asynccontextmanager
async def four_processes(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service once all its processes answer; each request may go to any of them."""
    with CommandLine.of(settings).serving("--workers", PROCESSES) as service:
        await asyncio.to_thread(service.wait_until_all_answer)
        # No connection is kept, so that the kernel hands each one to whichever process is free.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx2.AsyncClient(base_url=service.address, timeout=60, limits=limits) as client:
            yield client


async def post(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any], *, token: str, key: str | None = None
) -> httpx2.Response:
    """The answer; whoever waited too long for a lock on a slow machine is told so, and tries again."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
    while True:
        answer = await client.post(f"{ROOT}{path}", json=body, headers=headers)
        if answer.status_code != 503 and "request_in_progress" not in answer.text:
            return answer
        await asyncio.sleep(0.2)


async def staff(library: Library, settings: Settings, count: int) -> list[str]:
    people = [await librarian(library.database) for _ in range(count)]
    return await sign_in(library.database, settings, people)


async def events(database: Database, kind: str) -> int:
    async with database.reading() as session:
        return await session.scalar(select(func.count()).where(Event.kind == kind)) or 0


async def test_forty_readers_who_book_five_copies_at_once_get_five_and_a_queue_in_order(
    settings: Settings, database: Database, library: Library
) -> None:
    book = await library.book(copies=COPIES)
    readers = await library.readers(READERS)
    tokens = await sign_in(database, settings, readers)
    async with four_processes(settings) as client:
        answers = await asyncio.gather(
            *(post(client, "/bookings", {"book_id": book}, token=token, key="mine") for token in tokens)
        )
    assert [answer.status_code for answer in answers] == [201] * READERS, [answer.text for answer in answers]
    told = [answer.json() for answer in answers]
    assert Counter(each["status"] for each in told) == {"allocated": COPIES, "waiting": READERS - COPIES}

    queue = await library.bookings_of(book)
    waiting = [booking for booking in queue if booking.status == "waiting"]
    position = {each["id"]: each["position"] for each in told}
    # Who came later saw all who had come before, so the places told are those of the order in which they were placed.
    assert [position[str(booking.id)] for booking in waiting] == list(range(1, READERS - COPIES + 1))
    assert [booking.placed_at for booking in waiting] == sorted({booking.placed_at for booking in waiting})
    promised = [booking.copy_id for booking in queue if booking.status == "allocated"]
    assert sorted(promised, key=str) == sorted((copy.id for copy in await library.copies_of(book)), key=str)
    assert await events(database, "booking_placed") == READERS
    assert await library.violations() == []


async def test_the_last_copy_goes_out_at_one_of_two_desks(
    settings: Settings, database: Database, library: Library
) -> None:
    rounds = 12
    books = [await library.book(copies=1) for _ in range(rounds)]
    barcodes = [(await library.copies_of(book))[0].barcode for book in books]
    desks = await staff(library, settings, 2)
    readers = await library.readers(2)

    async def at_both_desks(client: httpx2.AsyncClient, barcode: str) -> list[httpx2.Response]:
        return await asyncio.gather(*(lend(client, barcode, *each) for each in zip(desks, readers, strict=True)))

    def lend(client: httpx2.AsyncClient, barcode: str, desk: str, reader: User) -> Awaitable[httpx2.Response]:
        return post(client, "/loans", {"copy_barcode": barcode, "card_number": reader.card_number}, token=desk)

    async with four_processes(settings) as client:
        for barcode in barcodes:
            one, other = sorted(await at_both_desks(client, barcode), key=lambda answer: answer.status_code)
            assert (one.status_code, other.status_code) == (201, 409), (one.text, other.text)
            assert other.json()["code"] == "copy_on_loan"
    assert await events(database, "loan_opened") == rounds
    assert await library.violations() == []


async def test_ten_identical_posts_have_one_effect_and_one_answer(
    settings: Settings, database: Database, library: Library
) -> None:
    wanted, book = await library.book(copies=1), await library.book(copies=1)
    [copy] = await library.copies_of(book)
    borrower, reader = await library.readers(2)
    [token] = await sign_in(database, settings, [reader])
    [desk] = await staff(library, settings, 1)
    lending = {"copy_barcode": copy.barcode, "card_number": borrower.card_number}

    async with four_processes(settings) as client:
        for path, body, who in (
            ("/bookings", {"book_id": wanted}, token),
            ("/loans", lending, desk),
            ("/returns", {"copy_barcode": copy.barcode}, desk),
        ):
            answers = await asyncio.gather(*(post(client, path, body, token=who, key="once") for _ in range(10)))
            assert (
                len({(answer.status_code, answer.content, answer.headers.get("location")) for answer in answers}) == 1
            )
            assert answers[0].is_success, answers[0].text
            replayed = [answer for answer in answers if answer.headers.get("idempotency-replayed") == "true"]
            assert len(replayed) == 9
        reused = await post(client, "/bookings", {"book_id": book}, token=token, key="once")
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    for kind in ("booking_placed", "loan_opened", "loan_returned"):
        assert await events(database, kind) == 1
    assert await library.violations() == []
