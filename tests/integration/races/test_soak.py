"""A soak of a few seconds, and its judges: each must notice what it is there for."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import update

from app.audit.models import Event
from app.core.db import Database
from app.idempotency.models import IdempotencyKey
from benchmarks.soak import soak
from benchmarks.soaking import verdict
from benchmarks.soaking.history import History
from benchmarks.soaking.ledger import Intent, Ledger
from benchmarks.soaking.load import Size
from tests.circulation import Library

SMALL = Size(600, workers=3, clients=12, books=12, readers=30, kill_every_seconds=2, replays=40, seconds=15)
NOW = datetime(2026, 1, 5, tzinfo=UTC)
ONE, OTHER = UUID(int=1), UUID(int=2)


def test_a_short_soak_through_kills_and_restarts_ends_without_a_breach(backend: str) -> None:
    outcome = soak(SMALL, seed=4, backend=backend)
    assert outcome.breaches == []
    assert outcome.figures["done"] > 20
    assert outcome.figures["workers_killed"] > 0
    assert outcome.figures["database_restarts"] == (3 if backend == "postgresql" else 0)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([("loan_opened", 1, ONE), ("loan_opened", 1, OTHER)], "is with somebody"),
        ([("loan_opened", 1, ONE), ("loan_returned", 1, OTHER)], "was not out on this loan"),
        ([("loan_found", 1, ONE)], "was not lost"),
        ([("booking_allocated", 1, ONE), ("booking_allocated", 1, OTHER)], "promised to another"),
        ([("loan_opened", 1, ONE), ("booking_allocated", 1, OTHER)], "promised copy is with somebody"),
        ([("waits", None, ONE), ("waits", None, OTHER), ("booking_ready", 1, OTHER)], "was before it"),
    ],
)
def test_the_history_tells_what_cannot_have_happened(events: list[tuple[str, int | None, UUID]], why: str) -> None:
    history = History({booking: (100, NOW + timedelta(seconds=booking.int), booking) for booking in (ONE, OTHER)})
    for number, (kind, copy_id, about) in enumerate(events):
        history.take(
            Event(
                id=number,
                kind="booking_placed" if kind == "waits" else kind,
                book_id=1,
                copy_id=copy_id,
                booking_id=None if "loan" in kind else about,
                loan_id=about if "loan" in kind else None,
                data={"status": "waiting"},
            )
        )
    [breach] = history.breaches
    assert why in breach


def test_the_history_finds_nothing_in_what_may_happen() -> None:
    history = History({booking: (100, NOW + timedelta(seconds=booking.int), booking) for booking in (ONE, OTHER)})
    loan = UUID(int=3)
    for kind, copy_id, about in (
        ("booking_placed", None, ONE),
        ("booking_suspended", None, ONE),
        ("booking_placed", None, OTHER),
        ("booking_ready", 1, OTHER),
        ("loan_opened", 1, loan),
        ("booking_fulfilled", 1, OTHER),
        ("booking_resumed", None, ONE),
        ("loan_returned", 1, loan),
        ("booking_ready", 1, ONE),
        ("booking_requeued", 1, ONE),
    ):
        is_loan = kind.startswith("loan")
        history.take(
            Event(
                id=1, kind=kind, book_id=1, copy_id=copy_id, loan_id=about if is_loan else None,
                booking_id=None if is_loan else about, data={"status": "waiting"},
            )
        )  # fmt: skip
    assert history.breaches == []
    assert history.waiting == {1: {ONE}}


@pytest.mark.anyio
@pytest.mark.parametrize("spoil", ["nothing", "lost", "twice", "untold", "answer"])
async def test_the_verdict_tells_lost_doubled_and_untold_operations(database: Database, spoil: str) -> None:
    library = Library(database)
    reader = await library.reader()
    booking = await library.place(reader.id, await library.book())
    answer = {"id": str(booking.id)}
    ledger = Ledger(answering(answer), seed=1)
    for _ in range(0 if spoil == "untold" else 1):
        await ledger.settle(Intent("book", "/api/v1/bookings", "token"))
    async with database.transaction() as session:
        if ledger.done:
            body = httpx2.Response(201, json=answer).content
            session.add(IdempotencyKey(scope="s", user_id=reader.id, body_digest="d", body=body, created_at=NOW))
        if spoil == "answer":
            await session.flush()
            await session.execute(update(IdempotencyKey).values(body=b"another"))
        if spoil == "twice":
            session.add(
                Event(change_id=uuid4(), kind="booking_placed", happened_at=NOW, booking_id=booking.id, data={})
            )
        if spoil == "lost":
            await session.execute(update(Event).values(booking_id=uuid4()))
    told = [*map(str, await verdict.effects(database, ledger)), *await verdict.answers(database, ledger)]
    assert len(told) == {"nothing": 0, "lost": 2, "twice": 1, "untold": 1, "answer": 1}[spoil], told


def answering(body: Any) -> httpx2.AsyncClient:
    """A client of a service that gives every request the same answer."""
    return httpx2.AsyncClient(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(201, json=body)), base_url="http://localhost"
    )
