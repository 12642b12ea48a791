"""Circulation against an independent model: whatever is done in whatever order, both end in the same state."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from sqlalchemy import update

from app.bookings import service as bookings
from app.charges import service as charges
from app.copies import service as copies
from app.copies.models import Copy
from app.core.config import Settings
from app.jobs import circulation as jobs
from app.loans import service as loans
from app.notifications.models import Notice
from app.users.models import User
from tests.integration.races.model import RETENTION
from tests.integration.races.shelves import Item
from tests.integration.races.twin import BOOKS, BRANCHES, READERS, Twin

EXAMPLES, STEPS = 40, 40

indexes = st.integers(0, 10_000)
books = st.sampled_from([0, 0, 0, 1, 2])  # one of them in demand
branches = st.sampled_from(BRANCHES)
priorities = st.sampled_from([50, 100])
anybody = {"is_mine": lambda _: True}


class Circulation(Twin):
    """Everything that the desk, readers and the clock do."""

    @rule(readers=st.lists(indexes, min_size=1, max_size=4), book=books, pickup=branches, priority=priorities)
    def book_a_copy(self, readers: list[int], book: int, pickup: str, priority: int) -> None:
        for reader in readers:
            self._place(reader % READERS, book, pickup, priority)

    def _place(self, reader: int, book: int, pickup: str, priority: int) -> None:
        self.keep_hold(
            self.both(
                lambda: self.model.place(reader, book, pickup, priority),
                lambda: self.library.place(self.readers[reader].id, self.books[book], pickup=pickup, priority=priority),
            )
        )

    @rule(reader=indexes, book=books, pickup=branches, priority=priorities)
    def recall(self, reader: int, book: int, pickup: str, priority: int) -> None:
        reader %= READERS
        self.keep_hold(
            self.both(
                lambda: self.model.recall(reader, book, pickup, priority),
                lambda: self.library.recall(
                    self.readers[reader].id, self.books[book], pickup=pickup, priority=priority
                ),
            )
        )

    @precondition(lambda self: self.holds)
    @rule(index=indexes)
    def cancel(self, index: int) -> None:
        hold, booking_id = self.hold(index, "waiting", "allocated", "ready")
        self.both(lambda: self.model.cancel(hold), lambda: self.library.cancel(booking_id))

    @precondition(lambda self: self.holds)
    @rule(index=indexes)
    def suspend(self, index: int) -> None:
        hold, booking_id = self.hold(index, "waiting")
        self.both(
            lambda: self.model.suspend(hold),
            lambda: self.library.suspend(booking_id),
        )

    @precondition(lambda self: self.holds)
    @rule(index=indexes)
    def resume(self, index: int) -> None:
        hold, booking_id = self.hold(index, "suspended")
        self.both(
            lambda: self.model.resume(hold),
            self.act(
                lambda session, context: bookings.resume(session, booking_id=booking_id, context=context, **anybody)
            ),
        )

    @rule(index=indexes, reader=indexes, branch=branches, lifts=st.booleans())
    def lend(self, index: int, reader: int, branch: str, lifts: bool) -> None:  # noqa: FBT001  # hypothesis gives it
        self._lend(self.item(index, "available", "reserved", "on_hold_shelf"), reader % READERS, branch, lifts=lifts)

    @precondition(lambda self: any(hold.item for hold in self.model.holds))
    @rule(branch=branches)
    def collect(self, branch: str) -> None:
        hold = next(hold for hold in self.model.holds if hold.item)
        assert hold.item
        self._lend((hold.item, self.copies[hold.item.number]), hold.reader, branch, lifts=False)

    def _lend(self, which: tuple[Item, Copy], reader: int, branch: str, *, lifts: bool) -> None:
        item, copy = which
        lift = ["promised_to_another"] if lifts else []
        lent = self.both(
            lambda: self.model.lend(item, reader, branch, lifts_promise=lifts),
            lambda: self.library.lend(copy.barcode, self.readers[reader].card_number, branch=branch, lift=lift),
        )
        if lent:
            self.loans.append(lent.loan.id)
            self.scans.append(lent.scan_id)

    @rule(indexes=st.lists(indexes, min_size=1, max_size=3), branch=branches)
    def scan_back(self, indexes: list[int], branch: str) -> None:
        for index in indexes:
            self._scan_back(self.item(index, "on_loan", "in_transit", "reserved", "lost"), branch)

    def _scan_back(self, which: tuple[Item, Copy], branch: str) -> None:
        item, copy = which
        returned = self.both(
            lambda: self.model.give_back(item, branch), lambda: self.library.give_back(copy.barcode, branch=branch)
        )
        if returned and returned.scan_id:
            self.scans.append(returned.scan_id)

    @precondition(lambda self: self.scans)
    @rule(back=st.integers(1, 3))
    def undo(self, back: int) -> None:
        scan, scan_id = self.model.scans[-min(back, len(self.scans))], self.scans[-min(back, len(self.scans))]
        self.both(
            lambda: self.model.undo(scan),
            self.act(lambda session, context: loans.undo(session, scan_id=scan_id, context=context)),
        )

    @precondition(lambda self: self.loans)
    @rule(index=indexes)
    def renew(self, index: int) -> None:
        loan, loan_id = self.loan(index, "open")
        self.both(
            lambda: self.model.renew(loan),
            self.act(lambda session, context: loans.renew(session, loan_id=loan_id, context=context, **anybody)),
        )

    @precondition(lambda self: self.loans)
    @rule(index=indexes)
    def claim_returned(self, index: int) -> None:
        loan, loan_id = self.loan(index, "open")
        self.both(
            lambda: self.model.claim(loan),
            self.act(
                lambda session, context: loans.claim_returned(session, loan_id=loan_id, context=context, **anybody)
            ),
        )

    @precondition(lambda self: self.loans)
    @rule(index=indexes)
    def lose(self, index: int) -> None:
        loan, loan_id = self.loan(index, "open")
        self.both(
            lambda: self.model.lose(loan),
            self.act(lambda session, context: loans.mark_lost(session, loan_id=loan_id, context=context, **anybody)),
        )

    @precondition(lambda self: any(owed > 0 for owed in self.model.owes.values()))
    @rule(share=st.integers(1, 3))
    def pay(self, share: int) -> None:
        reader = next(reader for reader, owed in self.model.owes.items() if owed > 0)
        amount = max(1, self.model.owes[reader] // share)
        subject = self.readers[reader].pseudonym
        self.both(
            lambda: self.model.pay(reader, amount),
            self.act(
                lambda session, context: charges.pay(
                    session, subject=subject, amount_minor=amount, now=context.now, actor=None
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

    @rule(reader=indexes, is_blocked=st.booleans(), keeps_history=st.booleans())
    def change_a_reader(self, reader: int, is_blocked: bool, keeps_history: bool) -> None:  # noqa: FBT001  # given
        reader %= READERS
        (self.model.blocked.add if is_blocked else self.model.blocked.discard)(reader)
        (self.model.keeps_history.add if keeps_history else self.model.keeps_history.discard)(reader)
        values = {"blocked_reason": "unpaid" if is_blocked else None, "keeps_history": keeps_history}
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

    @rule(days=st.sampled_from([1, 2, 9, 31]))
    def let_days_pass(self, days: int) -> None:
        self.pass_time(timedelta(days=days))

    @rule()
    def let_pickups_expire(self) -> None:
        self.both(self.model.expire, lambda: self.by_the_clock(jobs.expire_holds))

    @precondition(lambda self: self.loans)
    @rule()
    def remind(self) -> None:
        self.both(self.model.remind, lambda: self.by_the_clock(jobs.remind))

    @precondition(lambda self: self.model.letters)
    @rule()
    def send_letters(self) -> None:
        sent = update(Notice).where(Notice.state == "pending").values(state="sent", attempts=1)
        self.both(self.model.send_letters, self.act(lambda session, _: session.execute(sent)))

    @rule()
    def forget_what_is_old(self) -> None:
        self.both(self.model.fade, lambda: self.by_the_clock(jobs.purge_history))


def test_circulation_agrees_with_its_model(new_library: Callable[[Path], Settings], tmp_path: Path) -> None:
    numbers = count()

    def furnished() -> Settings:
        folder = tmp_path / f"{next(numbers)}"
        folder.mkdir()
        return new_library(folder).model_copy(update={"history_retention_days": RETENTION.days})

    class Machine(Circulation):
        fresh = staticmethod(furnished)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
