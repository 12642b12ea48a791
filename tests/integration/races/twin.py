"""Circulation done twice: in the service on a real database, and in the model; both must end in the same state.

Each step is sent twice with one key and must have one effect (invariant 8), and is looked at through other connections
than those that it was made with (invariant 12). What both_are_in_the_same_state() compares, and what the checker finds,
are the other invariants.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry, Event
from app.bookings.context import Context
from app.bookings.models import Booking
from app.branches.models import Branch
from app.charges import service as charges
from app.copies.models import Copy
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import AppError
from app.idempotency import service as idempotency
from app.idempotency.service import Answer
from app.loans.models import Loan
from app.notifications.models import Notice
from app.policies import service as policies
from app.policies.schemas import PolicyCreate
from app.users.models import User
from tests.circulation import Library
from tests.integration.races import model as terms
from tests.integration.races import shelves
from tests.integration.races.model import Model
from tests.integration.races.shelves import Hold, Item, Refused
from tests.integration.races.shelves import Loan as ModelLoan

T = TypeVar("T")

BRANCHES = ("main", "river")
READERS, BOOKS = 6, 3


class Doubled(Library):
    """Sends everything twice with the same key; the second one must find what the first one did."""

    sender: User
    steps = 0

    async def act(self, do: Callable[[AsyncSession, Context], Awaitable[T]]) -> T:
        self.steps += 1
        scope = f"step {self.steps}"
        async with self.transaction() as (session, context):
            assert await self._claim(session, scope, context) is None
            result = await do(session, context)
            await idempotency.keep(session, scope=scope, answer=Answer(200, {}, b"done"))
        async with self.transaction() as (session, context):
            answer = await self._claim(session, scope, context)
            assert answer is not None
            assert answer.body == b"done"
        return result

    async def _claim(self, session: AsyncSession, scope: str, context: Context) -> Answer | None:
        return await idempotency.claim(
            session, scope=scope, user_id=self.sender.id, body_digest="the same", now=context.now
        )


class Twin(RuleBasedStateMachine):
    """A small library in both; a machine adds the rules."""

    fresh: Callable[[], Settings]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.settings = type(self).fresh()
        self.database, self.elsewhere = Database(self.settings), Database(self.settings)
        self.library = Doubled(self.database)
        self.model = Model()
        self.holds: list[UUID] = []
        self.loans: list[UUID] = []
        self.scans: list[UUID] = []
        self.copies: list[Copy] = []
        self.run(self._furnish())

    def run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    async def _furnish(self) -> None:
        self.library.now = self.model.now
        self.readers = await self.library.readers(READERS)
        self.library.sender = self.readers[0]
        await self.library.branch("river")
        await self.library.act(_set_rules)
        self.books = [await self.library.book() for _ in range(BOOKS)]
        for number in range(BOOKS):
            await self.add_copy(number % BOOKS, BRANCHES[number % 2], "book")
            self.model.add(number % BOOKS, BRANCHES[number % 2], is_lendable=True)

    async def add_copy(self, book: int, branch: str, item_type: str) -> None:
        self.copies.append(await self.library.copy(self.books[book], branch=branch, item_type=item_type))

    def teardown(self) -> None:
        self.run(self.database.close())
        self.run(self.elsewhere.close())
        self.runner.close()

    def both(self, expected: Callable[[], Any], actual: Callable[[], Awaitable[Any]]) -> Any:
        """The service's result, or None where both refuse, by a rule that the model allows (invariant 13)."""
        self.pass_time(timedelta(seconds=1))
        allowed = _refusal_of(expected)
        if allowed is None:
            return self.run(actual())
        with pytest.raises(AppError) as refused:
            self.run(actual())
        assert refused.value.code in allowed, f"{refused.value.code}, not one of {allowed}"
        assert len(str(refused.value).split()) > 3, "a refusal is a sentence"
        return None

    def pass_time(self, time: timedelta) -> None:
        self.model.now += time
        self.library.now = self.model.now

    def act(self, do: Callable[..., Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        return lambda: self.library.act(do)

    def by_the_clock(self, job: Callable[..., Awaitable[Any]]) -> Awaitable[Any]:
        return job(self.database, self.settings, self.model.now)

    def keep_hold(self, booking: Booking | None) -> None:
        self.holds += [booking.id] if booking else []

    def book(self, index: int) -> int:
        """One of the books; four times of five one that was not merged into another."""
        kept = [book for book in range(BOOKS) if book not in self.model.merged]
        return kept[index % len(kept)] if index % 5 else index % BOOKS

    def item(self, index: int, *likely: str) -> tuple[Item, Copy]:
        number = _pick(index, self.model.items, likely)
        return self.model.items[number], self.copies[number]

    def hold(self, index: int, *likely: str) -> tuple[Hold, UUID]:
        number = _pick(index, self.model.holds, likely)
        return self.model.holds[number], self.holds[number]

    def loan(self, index: int, *likely: str) -> tuple[ModelLoan, UUID]:
        number = _pick(index, self.model.loans, likely)
        return self.model.loans[number], self.loans[number]

    @invariant()
    def both_are_in_the_same_state(self) -> None:
        actual, expected = self.run(self._state()), self._expected()
        for name, told in expected.items():
            assert actual[name] == told, f"{name}: {actual[name]}, not {told}"
        assert self.run(self.library.violations()) == []

    async def _state(self) -> dict[str, Any]:
        async with self.elsewhere.reading() as session:
            stored = {copy.id: copy for copy in await session.scalars(select(Copy))}
            placed = {booking.id: booking for booking in await session.scalars(select(Booking))}
            lent = {loan.id: loan for loan in await session.scalars(select(Loan))}
            notices = await session.execute(select(Notice.kind, Notice.cause).where(Notice.state == "pending"))
            counts = [
                dict(row[:] for row in await session.execute(select(kind, func.count()).group_by(kind)))
                for kind in (Event.kind, AuditEntry.action)
            ]
            owed = [await charges.balance(session, subject=reader.pseudonym) for reader in self.readers]
        held, loans = [placed[found] for found in self.holds], [lent[found] for found in self.loans]
        return {
            "copies": [(copy.status, copy.at_branch_id, copy.transit_to_id) for copy in self._known(stored)],
            "bookings": [(hold.status, hold.copy_id, hold.pickup_until if hold.copy_id else None) for hold in held],
            "loans": [(loan.status, loan.renewals, loan.due_at) for loan in loans],
            "readers": [hold.reader_id for hold in held] + [loan.reader_id for loan in loans],
            "events": counts[0],
            "audit": counts[1],
            "notices": Counter((row.kind, row.cause.split(":")[1]) for row in notices),
            "owed": owed,
        }

    def _known(self, stored: dict[int, Copy]) -> list[Copy]:
        return [stored[copy.id] for copy in self.copies]

    def _expected(self) -> dict[str, Any]:
        model, readers = self.model, [reader.id for reader in self.readers]
        ready = {hold.number for hold in model.holds if hold.status == "ready"}
        events = {kind: model.events.count(kind) for kind in set(model.events)}
        ids = {True: self.holds, False: self.loans}
        return {
            "copies": [(item.status, item.at, item.to) for item in model.items],
            "bookings": [
                (
                    hold.status,
                    self.copies[hold.item.number].id if hold.item else None,
                    hold.pickup_until if hold.number in ready else None,
                )
                for hold in model.holds
            ],
            "loans": [(loan.status, loan.renewals, loan.due_at) for loan in model.loans],
            "readers": [None if hold.is_faded else readers[hold.reader] for hold in model.holds]
            + [None if loan.is_faded else readers[loan.reader] for loan in model.loans],
            "events": events,
            "audit": events,
            "notices": Counter((kind, str(ids[kind.startswith("booking")][number])) for kind, number in model.letters),
            "owed": [model.owes.get(number, 0) for number in range(READERS)],
        }


async def _set_rules(session: AsyncSession, context: Context) -> None:
    for name, weekdays in shelves.OPEN_WEEKDAYS.items():
        calendar = {"open_weekdays": list(weekdays), "exceptions": []}
        await session.execute(update(Branch).where(Branch.id == name).values(calendar=calendar))
    for policy in (_policy("book", terms.LOAN_DAYS), _policy("reference", 0)):
        await policies.add(session, data=policy, now=context.now)


def _policy(item_type: str, loan_days: int) -> PolicyCreate:
    return PolicyCreate(
        item_type=item_type,
        loan_days=loan_days,
        renewals=terms.RENEWALS,
        loan_limit=terms.LOAN_LIMIT,
        booking_limit=shelves.BOOKING_LIMIT,
        pickup_days=shelves.PICKUP_DAYS,
        fine_per_day_minor=terms.FINE_PER_DAY,
        fine_cap_minor=terms.FINE_CAP,
        lost_fee_minor=terms.LOST_FEE,
        minimum_loan_days=terms.MINIMUM_LOAN_DAYS,
    )


def _pick(index: int, things: Sequence[Item | Hold | ModelLoan], likely: Collection[str]) -> int:
    """The number of one of the things; two times of three of one in a state in which the step is likely to be done."""
    promising = [number for number, thing in enumerate(things) if thing.status in likely]
    return promising[index % len(promising)] if promising and index % 3 else index % len(things)


def _refusal_of(operation: Callable[[], Any]) -> tuple[str, ...] | None:
    """The codes with which the model refuses; None if it did what was asked."""
    try:
        operation()
    except Refused as refusal:
        return refusal.codes
    return None
