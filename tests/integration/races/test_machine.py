"""Circulation against an independent model: whatever is done in whatever order, both end in the same state."""

import random
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import update

from app.bookings import service as bookings
from app.copies import service as copies
from app.core.config import Settings
from app.jobs import circulation as jobs
from app.loans import service as loans
from app.notifications.models import Notice
from app.users.models import User
from tests.integration.races.model import RETENTION
from tests.integration.races.steps import Circulation, branches, indexes
from tests.integration.races.twin import BOOKS, BRANCHES, READERS

EXAMPLES, STEPS, BUSY_STEPS = 40, 30, 8
USUAL_STEPS = ["book"] * 3 + ["lend", "return"] * 2 + ["collect", "suspend", "resume", "cancel", "undo"]

seeds = st.integers(0, 1 << 32)


class Library(Circulation):
    """Everything that happens in a library: what readers and the desk do, its copies and books, and the clock."""

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

    @initialize(seed=seeds)
    def begin_in_demand(self, seed: int) -> None:
        self.live_through_a_busy_hour(seed)
        self.live_through_a_busy_hour(seed + 1)

    @rule(seed=seeds)
    def live_through_a_busy_hour(self, seed: int) -> None:
        """What happens most, as evenly mixed as chance does it, with much that can be done and little that can't."""
        chance = random.Random(seed)
        for _ in range(BUSY_STEPS):
            step = chance.choice(USUAL_STEPS)
            index, branch = chance.randrange(10_000), chance.choice(BRANCHES)
            self._do(step, index, branch)
            self.both_are_in_the_same_state()

    def _do(self, step: str, index: int, branch: str) -> None:
        if step == "book":
            self.book_a_copy([index], index // 7, branch, 100)
        elif step == "lend":
            self.lend([index], branch, lifts=index % 2 == 0)
        elif step == "return":
            self.scan_back([index], branch)
        elif step == "collect" and any(hold.item for hold in self.model.holds):
            self.collect(branch)
        elif step == "undo" and self.scans:
            self.undo(1)
        elif step in {"suspend", "resume", "cancel"} and self.holds:
            getattr(self, step)(index)

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

    class Machine(Library):
        fresh = staticmethod(furnished)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
