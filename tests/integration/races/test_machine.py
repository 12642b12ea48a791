"""Circulation against an independent model: whatever is done in whatever order, both end in the same state."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select, update

from app.audit.models import Event
from app.bookings import service as bookings
from app.bookings.models import Booking
from app.copies import service as copies
from app.copies.models import Copy
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import AppError
from app.loans import service as loans
from app.loans.models import Loan
from app.policies import service as policies
from app.policies.schemas import PolicyCreate
from app.users.models import User
from tests.circulation import Library
from tests.integration.races.model import Hold, Item, Refused, Shelves
from tests.integration.races.model import Loan as ModelLoan

BRANCHES = ("main", "river")
READERS, BOOKS = 4, 3

indexes = st.integers(0, 10_000)
branches = st.sampled_from(BRANCHES)


class Circulation(RuleBasedStateMachine):
    """Does everything twice: in the service on a real database, and in the model."""

    opening: Settings

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.opening.data_dir / "library.db", self.folder)
        self.database = Database(self.opening.model_copy(update={"data_dir": self.folder}))
        self.library = Library(self.database)
        self.model = Shelves()
        self.holds: list[UUID] = []
        self.loans: list[UUID] = []
        self.copies: list[Copy] = []
        self.run(self._furnish())

    def run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    async def _furnish(self) -> None:
        await self.library.branch("river")
        self.readers = await self.library.readers(READERS)
        self.books = [await self.library.book() for _ in range(BOOKS)]
        terms = PolicyCreate(item_type="reference", loan_days=0)
        await self.library.act(lambda session, context: policies.add(session, data=terms, now=context.now))
        for number in range(BOOKS + 1):
            await self._add_copy(number % BOOKS, BRANCHES[number % 2], "book")
            self.model.add(number % BOOKS, BRANCHES[number % 2], is_lendable=True)

    async def _add_copy(self, book: int, branch: str, item_type: str) -> None:
        self.copies.append(await self.library.copy(self.books[book], branch=branch, item_type=item_type))

    def teardown(self) -> None:
        self.run(self.database.close())
        self.runner.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def both(self, expected: Callable[[], Any], actual: Callable[[], Awaitable[Any]]) -> Any:
        """The service's result, or None where both refuse; the code must be one that the model allows."""
        allowed = _refusal_of(expected)
        if allowed is None:
            return self.run(actual())
        with pytest.raises(AppError) as refused:
            self.run(actual())
        assert refused.value.code in allowed
        return None

    def item(self, index: int) -> tuple[Item, Copy]:
        number = index % len(self.copies)
        return self.model.items[number], self.copies[number]

    def hold(self, index: int) -> tuple[Hold, UUID]:
        return self.model.holds[index % len(self.holds)], self.holds[index % len(self.holds)]

    def loan(self, index: int) -> tuple[ModelLoan, UUID]:
        return self.model.loans[index % len(self.loans)], self.loans[index % len(self.loans)]

    def act(self, do: Callable[..., Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        return lambda: self.library.act(do)

    @rule(reader=indexes, book=indexes, pickup=branches)
    def book_a_copy(self, reader: int, book: int, pickup: str) -> None:
        reader, book = reader % READERS, book % BOOKS
        placed = self.both(
            lambda: self.model.place(reader, book, pickup),
            lambda: self.library.place(self.readers[reader].id, self.books[book], pickup=pickup),
        )
        if placed:
            self.holds.append(placed.id)

    @precondition(lambda self: self.holds)
    @rule(index=indexes)
    def cancel(self, index: int) -> None:
        hold, booking_id = self.hold(index)
        self.both(lambda: self.model.cancel(hold), lambda: self.library.cancel(booking_id))

    @precondition(lambda self: self.holds)
    @rule(index=indexes)
    def suspend(self, index: int) -> None:
        hold, booking_id = self.hold(index)
        self.both(
            lambda: self.model.suspend(hold),
            self.act(
                lambda session, context: bookings.suspend(
                    session, booking_id=booking_id, is_mine=lambda _: True, until=None, context=context
                )
            ),
        )

    @precondition(lambda self: self.holds)
    @rule(index=indexes)
    def resume(self, index: int) -> None:
        hold, booking_id = self.hold(index)
        self.both(
            lambda: self.model.resume(hold),
            self.act(
                lambda session, context: bookings.resume(
                    session, booking_id=booking_id, is_mine=lambda _: True, context=context
                )
            ),
        )

    @precondition(lambda self: any(hold.status == "ready" for hold in self.model.holds))
    @rule()
    def let_pickups_expire(self) -> None:
        ready = [(hold, self.holds[hold.number]) for hold in self.model.holds if hold.status == "ready"]
        hold, booking_id = ready[0]
        self.model.cancel(hold, "expired")

        async def expire() -> bool:
            async with self.library.transaction() as (session, context):
                booking = await session.get_one(Booking, booking_id)
                assert booking.pickup_until
                late = context.__class__(
                    booking.pickup_until + timedelta(seconds=1), context.actor, context.rules, context.timezone
                )
                return await bookings.expire(session, booking_id=booking_id, context=late)

        assert self.run(expire())

    @rule(index=indexes, reader=indexes, branch=branches, lifts=st.booleans())
    def lend(self, index: int, reader: int, branch: str, lifts: bool) -> None:  # noqa: FBT001  # hypothesis gives it
        item, copy = self.item(index)
        reader %= READERS
        lift = ["promised_to_another"] if lifts else []
        lent = self.both(
            lambda: self.model.lend(item, reader, branch, lifts_promise=lifts),
            lambda: self.library.lend(copy.barcode, self.readers[reader].card_number, branch=branch, lift=lift),
        )
        if lent:
            self.loans.append(lent.loan.id)

    @rule(index=indexes, branch=branches)
    def scan_back(self, index: int, branch: str) -> None:
        item, copy = self.item(index)
        self.both(
            lambda: self.model.give_back(item, branch), lambda: self.library.give_back(copy.barcode, branch=branch)
        )

    @precondition(lambda self: self.loans)
    @rule(index=indexes)
    def renew(self, index: int) -> None:
        loan, loan_id = self.loan(index)
        self.both(
            lambda: self.model.renew(loan),
            self.act(
                lambda session, context: loans.renew(session, loan_id=loan_id, is_mine=lambda _: True, context=context)
            ),
        )

    @precondition(lambda self: self.loans)
    @rule(index=indexes)
    def lose(self, index: int) -> None:
        loan, loan_id = self.loan(index)
        self.both(
            lambda: self.model.lose(loan),
            self.act(
                lambda session, context: loans.mark_lost(
                    session, loan_id=loan_id, is_mine=lambda _: True, context=context
                )
            ),
        )

    @rule(index=indexes, status=st.sampled_from(["available", "in_repair", "missing", "withdrawn"]))
    def set_aside_or_bring_back(self, index: int, status: str) -> None:
        item, copy = self.item(index)
        self.both(lambda: self.model.restate(item, status), lambda: self.library.restate(copy.id, status))

    @precondition(lambda self: len(self.copies) < 9)
    @rule(book=indexes, home=branches, is_lendable=st.booleans())
    def add_a_copy(self, book: int, home: str, is_lendable: bool) -> None:  # noqa: FBT001  # hypothesis gives it
        book %= BOOKS
        self.both(
            lambda: self.model.add(book, home, is_lendable=is_lendable),
            lambda: self._add_copy(book, home, "book" if is_lendable else "reference"),
        )

    @rule(index=indexes)
    def remove_a_copy(self, index: int) -> None:
        item, copy = self.item(index)
        self.both(
            lambda: self.model.remove(item),
            self.act(
                lambda session, context: copies.remove(
                    session, copy_id=copy.id, if_match=None, currency="EUR", now=context.now
                )
            ),
        )

    @rule(index=indexes)
    def restore_a_copy(self, index: int) -> None:
        item, copy = self.item(index)

        async def restore(session: Any, context: Any) -> None:
            found = await copies.restore(session, copy_id=copy.id, now=context.now)
            await bookings.settle(session, book_id=found.book_id, context=context)

        self.both(lambda: self.model.restore(item), self.act(restore))

    @rule(reader=indexes, is_blocked=st.booleans())
    def block_or_unblock(self, reader: int, is_blocked: bool) -> None:  # noqa: FBT001  # hypothesis gives it
        reader %= READERS
        (self.model.blocked.add if is_blocked else self.model.blocked.discard)(reader)
        values = {"blocked_reason": "unpaid" if is_blocked else None}
        statement = update(User).where(User.id == self.readers[reader].id).values(**values)
        self.run(self.library.act(lambda session, _: session.execute(statement)))

    @rule(source=indexes, kept=indexes)
    def merge(self, source: int, kept: int) -> None:
        source, kept = source % BOOKS, kept % BOOKS
        if len(self.model.merged) >= BOOKS - 2 and source not in self.model.merged:
            return  # one pair of books stays apart, or there is soon nothing left to do
        self.both(
            lambda: self.model.merge(source, kept),
            self.act(
                lambda session, context: loans.merge(
                    session, source_id=self.books[source], target_id=self.books[kept], context=context
                )
            ),
        )

    @invariant()
    def both_are_in_the_same_state(self) -> None:
        assert self.run(self._state()) == self._expected()
        assert self.run(self.library.violations()) == []

    async def _state(self) -> dict[str, Any]:
        kind = Event.kind.op("GLOB", is_comparison=True)
        async with self.database.reading() as session:
            stored = {copy.id: copy for copy in await session.scalars(select(Copy))}
            placed = {booking.id: booking for booking in await session.scalars(select(Booking))}
            lent = {loan.id: loan for loan in await session.scalars(select(Loan))}
            events = select(Event.kind, func.count()).group_by(Event.kind).where(kind("b*") | kind("l*") | kind("c*"))
            counted = {row[0]: row[1] for row in await session.execute(events)}
        return {
            "copies": [
                (stored[copy.id].status, stored[copy.id].at_branch_id, stored[copy.id].transit_to_id)
                for copy in self.copies
            ],
            "bookings": [(placed[found].status, placed[found].copy_id) for found in self.holds],
            "loans": [(lent[found].status, lent[found].renewals) for found in self.loans],
            "events": counted,
        }

    def _expected(self) -> dict[str, Any]:
        return {
            "copies": [(item.status, item.at, item.to) for item in self.model.items],
            "bookings": [
                (hold.status, self.copies[hold.item.number].id if hold.item else None) for hold in self.model.holds
            ],
            "loans": [(loan.status, loan.renewals) for loan in self.model.loans],
            "events": {kind: self.model.events.count(kind) for kind in set(self.model.events)},
        }


def _refusal_of(operation: Callable[[], Any]) -> tuple[str, ...] | None:
    """The codes with which the model refuses; None if it did what was asked."""
    try:
        operation()
    except Refused as refusal:
        return refusal.codes
    return None


def test_circulation_agrees_with_its_model(sqlite_template: Path) -> None:
    class Machine(Circulation):
        opening = Settings(_env_file=None, data_dir=sqlite_template.parent)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
