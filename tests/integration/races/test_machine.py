"""Circulation against an independent model: whatever is done in whatever order, both end in the same state."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from sqlalchemy import update

from app.bookings import service as bookings
from app.bookings.models import Booking
from app.copies import service as copies
from app.core.config import Settings
from app.loans import service as loans
from app.users.models import User
from tests.integration.races.twin import BOOKS, BRANCHES, READERS, Twin

indexes = st.integers(0, 10_000)
branches = st.sampled_from(BRANCHES)


class Circulation(Twin):
    """Everything that the desk and readers do."""

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
            lambda: self.add_copy(book, home, "book" if is_lendable else "reference"),
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


def test_circulation_agrees_with_its_model(sqlite_template: Path) -> None:
    class Machine(Circulation):
        opening = Settings(_env_file=None, data_dir=sqlite_template.parent)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
