"""The steps of circulation: each is done in the service and in the model."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.bookings import service as bookings
from app.charges import service as charges
from app.copies.models import Copy
from app.loans import service as loans
from tests.integration.races.shelves import Item
from tests.integration.races.twin import BRANCHES, READERS, Twin

indexes = st.integers(0, 10_000)
several = st.lists(indexes, min_size=1, max_size=4)
branches = st.sampled_from(BRANCHES)
priorities = st.sampled_from([50, 100])
anybody = {"is_mine": lambda _: True}


class Circulation(Twin):
    """What readers and the desk do."""

    @rule(readers=several, book=indexes, pickup=branches, priority=priorities)
    def book_a_copy(self, readers: list[int], book: int, pickup: str, priority: int) -> None:
        for reader in readers:
            self._place(reader % READERS, self.book(book), pickup, priority)

    def _place(self, reader: int, book: int, pickup: str, priority: int) -> None:
        self.keep_hold(
            self.both(
                lambda: self.model.place(reader, book, pickup, priority),
                lambda: self.library.place(self.readers[reader].id, self.books[book], pickup=pickup, priority=priority),
            )
        )

    @precondition(lambda self: any(loan.status == "open" for loan in self.model.loans))
    @rule(reader=indexes, book=indexes, pickup=branches, priority=priorities)
    def recall(self, reader: int, book: int, pickup: str, priority: int) -> None:
        reader, book = reader % READERS, self.book(book)
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

    @rule(indexes=several, branch=branches, lifts=st.booleans())
    def lend(self, indexes: list[int], branch: str, lifts: bool) -> None:  # noqa: FBT001  # hypothesis gives it
        for index in indexes:
            which = self.item(index, "available", "reserved", "on_hold_shelf")
            self._lend(which, index // 7 % READERS, branch, lifts=lifts)

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

    @rule(indexes=several, branch=branches)
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
