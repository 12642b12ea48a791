"""Circulation done twice: in the service on a real database, and in the model; both must end in the same state."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import func, select

from app.audit.models import Event
from app.bookings.models import Booking
from app.copies.models import Copy
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import AppError
from app.loans.models import Loan
from app.policies import service as policies
from app.policies.schemas import PolicyCreate
from tests.circulation import Library
from tests.integration.races.model import Hold, Item, Refused, Shelves
from tests.integration.races.model import Loan as ModelLoan

BRANCHES = ("main", "river")
READERS, BOOKS = 4, 3


class Twin(RuleBasedStateMachine):
    """A small library in both; a machine adds the rules."""

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
            await self.add_copy(number % BOOKS, BRANCHES[number % 2], "book")
            self.model.add(number % BOOKS, BRANCHES[number % 2], is_lendable=True)

    async def add_copy(self, book: int, branch: str, item_type: str) -> None:
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
