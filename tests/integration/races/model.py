"""Circulation in memory: what the product says of loans, money, notices and forgetting, without the service's code."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.integration.races.shelves import DAY, OPEN, Hold, Item, Loan, Refused, Shelves, is_open

LOAN_DAYS, MINIMUM_LOAN_DAYS, RECALL_DAYS, RENEWALS, LOAN_LIMIT = 10, 9, 7, 2, 3
FINE_PER_DAY, FINE_CAP, PRICE, LOST_FEE = 10, 50, 1_500, 200
RETENTION = 30 * DAY
SCANS_KEPT, UNDO = DAY, timedelta(minutes=10)


@dataclass
class Scan:
    """`hold` is the booking that the scan closed or displaced, `promised` the copy that it had."""

    kind: str
    item: Item
    loan: Loan
    at: str
    made_at: datetime
    hold: Hold | None = None
    promised: Item | None = None
    hold_status: str = "waiting"
    fine: int = 0
    is_undone: bool = False
    is_forgotten: bool = False


@dataclass
class Model(Shelves):
    """The whole library. Holds and loans stand in the order in which they were made."""

    scans: list[Scan] = field(default_factory=list)
    told: set[tuple[str, int, str]] = field(default_factory=set)
    owes: dict[int, int] = field(default_factory=dict)
    keeps_history: set[int] = field(default_factory=set)

    def recall(self, reader: int, book: int, pickup: str, priority: int) -> Hold:
        hold = self.place(reader, book, pickup, priority)
        if hold.status != "waiting":
            return hold
        lent = [loan for loan in self.open_loans() if loan.item.book == book and not loan.is_recalled]
        if not lent:
            del self.holds[-1], self.events[-1]
            raise Refused("nothing_to_recall")
        loan = max(lent, key=lambda loan: (loan.due_at, -loan.number))
        soonest = self._due(loan.branch, loan.lent_at, MINIMUM_LOAN_DAYS)
        loan.due_at = min(loan.due_at, max(soonest, self._due(loan.branch, self.now, RECALL_DAYS)))
        loan.is_recalled = True
        self.events.append("loan_recalled")
        self._forget_letters(loan)
        self._tell("recall", loan)
        return hold

    def lend(self, item: Item, reader: int, branch: str, *, lifts_promise: bool) -> Loan:
        holder = self.holder(item)
        with self.refusals() as refuse:
            refuse("already_on_loan", item.status == "on_loan" and self._loan_of(item).reader == reader)
            refuse("copy_on_loan", item.status == "on_loan" and self._loan_of(item).reader != reader)
            refuse("copy_not_lendable", item.status in {"in_transit", "lost", "in_repair", "missing", "withdrawn"})
            refuse("copy_not_found", item.is_removed)
            is_kept = item.status in {"reserved", "on_hold_shelf"} and holder is not None and holder.reader != reader
            refuse("promised_to_another", is_kept and not lifts_promise)
            refuse("reader_blocked", reader in self.blocked)
            refuse("not_for_loan", not item.is_lendable)
            mine = [loan for loan in self.open_loans() if loan.reader == reader]
            refuse("loan_limit_reached", len(mine) >= LOAN_LIMIT)
        own = self.hold_of(reader, item.book)
        loan = Loan(len(self.loans), item, reader, branch, self._due(branch, self.now, LOAN_DAYS), self.now)
        displaced = own or holder
        scan = Scan("lend", item, loan, item.at, self.now, displaced)
        if displaced:
            scan.promised, scan.hold_status = displaced.item, displaced.status
        if is_kept and holder:
            self.requeue(holder)
        self.loans.append(loan)
        self.scans.append(scan)
        item.status, item.at, item.to = "on_loan", branch, None
        self.events.append("loan_opened")
        if own:
            other = self.close(own, "fulfilled")
            if other and other is not item:
                self.free(other, in_hand=False)
        if is_kept:
            self.settle(item.book)
        return loan

    def give_back(self, item: Item, branch: str) -> None:
        if item.is_removed:
            raise Refused("copy_not_found")
        if item.status in {"in_repair", "withdrawn"}:
            raise Refused("copy_out_of_use")
        if item.status in {"on_loan", "lost"}:
            self._end(self._loan_of(item), branch)
        elif item.status == "missing":
            self.events.append("copy_found")
            self.arrive(item, branch)
        else:
            self.check_in(item, branch)

    def _end(self, loan: Loan, branch: str) -> None:
        days = (loan.due_at + n * DAY for n in range(1, (self.now.date() - loan.due_at.date()).days + 1))
        fine = min(FINE_CAP, FINE_PER_DAY * sum(is_open(loan.branch, day) for day in days))
        self._charge(loan.reader, fine)
        if loan.status == "open":
            self.events.append("loan_returned")
            self.scans.append(Scan("return", loan.item, loan, loan.item.at, self.now, fine=fine))
        else:
            self.events.append("loan_found")
            self._charge(loan.reader, -PRICE)
        self._close_loan(loan, "returned")
        self.arrive(loan.item, branch)

    def undo(self, scan: Scan) -> None:
        if scan.is_forgotten:
            raise Refused("scan_not_found")
        if scan.is_undone:
            return
        item, loan = scan.item, scan.loan
        others = [other for other in self.holds if other.reader == loan.reader and other.book == item.book]
        with self.refusals() as refuse:
            refuse("scan_too_old", self.now - scan.made_at > UNDO)
            refuse("scan_overtaken", [other for other in self.scans if other.item is item][-1] is not scan)
            if scan.kind == "lend":
                refuse("scan_overtaken", loan.status != "open" or loan.renewals > 0)
            else:
                refuse("scan_overtaken", loan.status != "returned" or item.is_removed)
                refuse("scan_overtaken", item.status in {"on_loan", "in_repair", "missing", "withdrawn"})
                refuse("scan_overtaken", any(other.status in OPEN for other in others))
        scan.is_undone = True
        (self._undo_loan if scan.kind == "lend" else self._undo_return)(scan)

    def _undo_loan(self, scan: Scan) -> None:
        item, hold = scan.item, scan.hold
        self._close_loan(scan.loan, "returned")
        self.events.append("loan_undone")
        item.at, item.status = scan.at, "available"
        is_back = hold is not None and hold.status in {"fulfilled", "waiting"}
        if hold is None or not is_back or (hold.status == "fulfilled" and self._has_other(hold)):
            self.free(item, in_hand=True)
            return
        hold.status, hold.closed_at = "suspended" if scan.hold_status == "suspended" else "waiting", None
        if scan.promised is item:
            self.promise(hold, item, in_hand=True)
            return
        self.events.append("booking_reopened")
        self.free(item, in_hand=True)
        self.settle(item.book)

    def _has_other(self, hold: Hold) -> bool:
        """Whether the reader has something else of the book by now, which leaves no room for his old booking."""
        return self.hold_of(hold.reader, hold.book) is not None or self.has_on_loan(hold.reader, hold.book)

    def _undo_return(self, scan: Scan) -> None:
        item, loan, holder = scan.item, scan.loan, self.holder(scan.item)
        if holder:
            self.requeue(holder)
        loan.status, loan.returned_at = "open", None
        item.status, item.at, item.to = "on_loan", scan.at, None
        self._charge(loan.reader, -scan.fine)
        self.events.append("return_undone")
        self.settle(item.book)

    def renew(self, loan: Loan) -> None:
        with self.refusals() as refuse:
            refuse("loan_closed", loan.status != "open")
            refuse("reader_blocked", loan.reader in self.blocked)
            refuse("no_renewals_left", loan.renewals >= RENEWALS)
            refuse("loan_recalled", loan.is_recalled)
            refuse("others_waiting", loan.item.is_lendable and bool(self._line(loan.item.book)))
        loan.renewals += 1
        loan.due_at = max(loan.due_at, self._due(loan.branch, self.now, LOAN_DAYS))
        self._forget_letters(loan)
        self.events.append("loan_renewed")

    def claim(self, loan: Loan) -> None:
        if loan.status != "open":
            raise Refused("loan_closed")
        if not loan.is_claimed:
            loan.is_claimed = True
            self.events.append("loan_claimed_returned")

    def lose(self, loan: Loan) -> None:
        if loan.status != "open":
            raise Refused("loan_closed")
        self._close_loan(loan, "lost")
        loan.item.status = "lost"
        self._charge(loan.reader, PRICE + LOST_FEE)
        self.events.append("loan_lost")

    def merge(self, source: int, target: int) -> None:
        if source == target:
            raise Refused("merge_into_itself", "book_merged")
        if source in self.merged or target in self.merged:
            raise Refused("book_merged")
        pair = {source, target}
        borrowers = {loan.reader for loan in self.open_loans() if loan.item.book in pair}
        kept: set[int] = set()
        for hold in [hold for hold in self.holds if hold.status in OPEN and hold.book in pair]:
            if hold.reader in borrowers | kept:
                self.cancel(hold)
            kept.add(hold.reader)
        for item in self.items:
            item.book = target if item.book == source else item.book
        for hold in self.holds:
            hold.book = target if hold.book == source else hold.book
        self.merged[source] = target
        self.events.append("book_merged")
        self.settle(target)

    def pay(self, reader: int, amount: int) -> None:
        self._charge(reader, -amount)

    def remind(self) -> None:
        for loan in self.open_loans():
            late = [kind for days, kind in STEPS if self.now >= loan.due_at + days * DAY]
            if not late and loan.due_at > self.now >= loan.due_at - 3 * DAY:
                late = ["due_soon"]
            if late and not loan.is_claimed:
                self._tell(late[-1], loan)

    def send_letters(self) -> None:
        self.letters.clear()

    def fade(self) -> None:
        before = self.now - RETENTION
        for scan in self.scans:
            scan.is_forgotten = scan.is_forgotten or self.now - scan.made_at > SCANS_KEPT
        for loan in self.loans:
            is_old = loan.status == "returned" and loan.returned_at is not None and loan.returned_at < before
            loan.is_faded = loan.is_faded or (is_old and loan.reader not in self.keeps_history)
        for hold in self.holds:
            is_old = hold.closed_at is not None and hold.closed_at < before
            hold.is_faded = hold.is_faded or (is_old and hold.reader not in self.keeps_history)
            if hold.is_faded:
                self.letters.discard(("booking_expired", hold.number))

    def _loan_of(self, item: Item) -> Loan:
        return next(loan for loan in reversed(self.loans) if loan.item is item and loan.status != "returned")

    def _close_loan(self, loan: Loan, status: str) -> None:
        loan.status = status
        loan.returned_at = self.now if status == "returned" else None
        self._forget_letters(loan)

    def _due(self, branch: str, start: datetime, days: int) -> datetime:
        day = start + days * DAY
        while not is_open(branch, day):
            day += DAY
        return self.day_end(day)

    def _charge(self, reader: int, amount: int) -> None:
        self.owes[reader] = self.owes.get(reader, 0) + amount

    def _tell(self, kind: str, loan: Loan) -> None:
        cause = (kind, loan.number, str(loan.due_at.date()))
        if cause not in self.told:
            self.letters.add((kind, loan.number))
            self.told.add(cause)

    def _forget_letters(self, loan: Loan) -> None:
        """What has not gone out is taken back, and may be told again."""
        for kind in ("recall", "due_soon", *(kind for _, kind in STEPS)):
            if (kind, loan.number) in self.letters:
                self.letters.discard((kind, loan.number))
                self.told -= {cause for cause in self.told if cause[:2] == (kind, loan.number)}


STEPS = ((1, "overdue_1"), (8, "overdue_2"), (22, "overdue_3"))
