"""A library in memory: what the product says of copies, queues and loans, written without the service's code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

RENEWALS = 2
SET_ASIDE = ("in_repair", "missing", "withdrawn")
OPEN = ("waiting", "suspended", "allocated", "ready")


class Refused(Exception):
    """The service must refuse too, with one of these codes."""

    def __init__(self, *codes: str) -> None:
        super().__init__(*codes)
        self.codes = codes


@dataclass
class Item:
    number: int
    book: int
    home: str
    is_lendable: bool
    at: str
    status: str = "available"
    to: str | None = None
    is_removed: bool = False


@dataclass
class Hold:
    number: int
    reader: int
    book: int
    pickup: str
    status: str
    item: Item | None = None


@dataclass
class Loan:
    number: int
    item: Item
    reader: int
    status: str = "open"
    renewals: int = 0
    is_recalled: bool = False


@dataclass
class Shelves:
    """Everything that circulates. Holds stand in the order in which they were placed, which is the queue."""

    items: list[Item] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    loans: list[Loan] = field(default_factory=list)
    blocked: set[int] = field(default_factory=set)
    merged: dict[int, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    def place(self, reader: int, book: int, pickup: str) -> Hold:
        with self._refusals() as refuse:
            refuse("book_merged", book in self.merged)
            refuse("reader_blocked", reader in self.blocked)
            refuse("already_borrowed", any(loan.reader == reader and loan.item.book == book for loan in self._open()))
            refuse("already_booked", self._hold_of(reader, book) is not None)
            kept = [item for item in self._of(book) if item.status != "withdrawn"]
            refuse("not_for_loan", bool(kept) and not any(item.is_lendable for item in kept))
        free = [item for item in self._of(book) if item.status == "available" and item.is_lendable]
        free.sort(key=lambda item: (item.home != pickup, item.number))
        hold = Hold(len(self.holds), reader, book, pickup, "waiting")
        self.holds.append(hold)
        self.events.append("booking_placed")
        if free:
            hold.status, hold.item, free[0].status = "allocated", free[0], "reserved"
        return hold

    def cancel(self, hold: Hold, status: str = "cancelled") -> None:
        if hold.status not in OPEN:
            raise Refused("booking_closed")
        item, hold.item, hold.status = hold.item, None, status
        self.events.append(f"booking_{status}")
        if item:
            self._free(item, in_hand=False)

    def suspend(self, hold: Hold) -> None:
        if hold.status not in {"waiting", "suspended"}:
            raise Refused("booking_closed", "booking_not_waiting")
        if hold.status == "waiting":
            hold.status = "suspended"
            self.events.append("booking_suspended")

    def resume(self, hold: Hold) -> None:
        if hold.status != "suspended":
            raise Refused("booking_closed", "booking_not_suspended")
        hold.status = "waiting"
        self.events.append("booking_resumed")
        self.settle(hold.book)

    def lend(self, item: Item, reader: int, branch: str, *, lifts_promise: bool) -> Loan:
        holder = self._holder(item)
        with self._refusals() as refuse:
            refuse("already_on_loan", item.status == "on_loan" and self._loan_of(item).reader == reader)
            refuse("copy_on_loan", item.status == "on_loan" and self._loan_of(item).reader != reader)
            refuse("copy_not_lendable", item.status in {"in_transit", "lost", *SET_ASIDE})
            refuse("copy_not_found", item.is_removed)
            is_kept = item.status in {"reserved", "on_hold_shelf"} and holder is not None and holder.reader != reader
            refuse("promised_to_another", is_kept and not lifts_promise)
            refuse("reader_blocked", reader in self.blocked)
            refuse("not_for_loan", not item.is_lendable)
        if is_kept and holder:
            holder.status, holder.item = "waiting", None
            self.events.append("booking_requeued")
        loan = Loan(len(self.loans), item, reader)
        self.loans.append(loan)
        item.status, item.at, item.to = "on_loan", branch, None
        self.events.append("loan_opened")
        own = self._hold_of(reader, item.book)
        if own:
            other, own.item, own.status = own.item, None, "fulfilled"
            self.events.append("booking_fulfilled")
            if other and other is not item:
                self._free(other, in_hand=False)
        if is_kept:
            self.settle(item.book)
        return loan

    def give_back(self, item: Item, branch: str) -> None:
        if item.is_removed:
            raise Refused("copy_not_found")
        if item.status in {"in_repair", "withdrawn"}:
            raise Refused("copy_out_of_use")
        if item.status in {"on_loan", "lost"}:
            loan = self._loan_of(item)
            self.events.append("loan_returned" if loan.status == "open" else "loan_found")
            loan.status = "returned"
            self._arrive(item, branch)
        elif item.status == "missing":
            self.events.append("copy_found")
            self._arrive(item, branch)
        else:
            self._check_in(item, branch)

    def _check_in(self, item: Item, branch: str) -> None:
        stays = (
            (item.status == "on_hold_shelf" and item.at == branch)
            or (item.status == "available" and item.home == branch)
            or (item.status == "in_transit" and item.at == branch and item.to != branch)
        )
        if stays:
            return
        holder = self._holder(item)
        if holder:
            item.at = branch
            self._promise(holder, item, in_hand=True)
        else:
            self.events.append("copy_arrived")
            self._arrive(item, branch)

    def renew(self, loan: Loan) -> None:
        with self._refusals() as refuse:
            refuse("loan_closed", loan.status != "open")
            refuse("reader_blocked", loan.reader in self.blocked)
            refuse("no_renewals_left", loan.renewals >= RENEWALS)
            refuse("loan_recalled", loan.is_recalled)
            refuse("others_waiting", loan.item.is_lendable and bool(self._line(loan.item.book)))
        loan.renewals += 1
        self.events.append("loan_renewed")

    def lose(self, loan: Loan) -> None:
        if loan.status != "open":
            raise Refused("loan_closed")
        loan.status, loan.item.status = "lost", "lost"
        self.events.append("loan_lost")

    def restate(self, item: Item, status: str) -> None:
        if item.is_removed:
            raise Refused("copy_gone")
        if item.status == status:
            return
        sets_aside = status in SET_ASIDE and item.status not in {"on_loan", "withdrawn"}
        sets_aside = sets_aside and (item.status != "lost" or status == "withdrawn")
        if not sets_aside and not (status == "available" and item.status in {"in_repair", "missing"}):
            raise Refused("status_not_allowed")
        holder = self._holder(item)
        if holder:
            holder.status, holder.item = "waiting", None
            self.events.append("booking_requeued")
        item.status, item.to = status, None
        self.events.append("copy_status_changed")
        if status == "available":
            self._free(item, in_hand=False)
        elif holder:
            self.settle(item.book)

    def add(self, book: int, home: str, *, is_lendable: bool) -> Item:
        if book in self.merged:
            raise Refused("book_merged")
        item = Item(len(self.items), book, home, is_lendable, home)
        self.items.append(item)
        self.settle(book)
        return item

    def remove(self, item: Item) -> None:
        if item.is_removed:
            raise Refused("copy_gone")
        if item.status in {"on_loan", "reserved", "on_hold_shelf", "in_transit"}:
            raise Refused("copy_in_use")
        item.is_removed = True

    def restore(self, item: Item) -> None:
        item.is_removed = False
        self.settle(item.book)

    def merge(self, source: int, target: int) -> None:
        if source == target:
            raise Refused("merge_into_itself", "book_merged")
        if source in self.merged or target in self.merged:
            raise Refused("book_merged")
        pair = {source, target}
        borrowers = {loan.reader for loan in self._open() if loan.item.book in pair}
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

    def settle(self, book: int) -> None:
        if self._line(book):
            for item in self._of(book):
                if item.status == "available":
                    self._free(item, in_hand=False)

    def _arrive(self, item: Item, branch: str) -> None:
        item.at = branch
        self._free(item, in_hand=True)

    def _free(self, item: Item, *, in_hand: bool) -> None:
        line = self._line(item.book)
        if line and item.is_lendable:
            self._promise(line[0], item, in_hand=in_hand)
        elif item.status == "in_transit" and not in_hand:
            pass
        elif item.at == item.home:
            item.status, item.to = "available", None
        else:
            item.status, item.to = "in_transit", item.home

    def _promise(self, hold: Hold, item: Item, *, in_hand: bool) -> None:
        hold.item = item
        if in_hand and item.at == hold.pickup:
            hold.status, item.status, item.to = "ready", "on_hold_shelf", None
            self.events.append("booking_ready")
            return
        hold.status = "allocated"
        self.events.append("booking_allocated")
        if in_hand:
            item.status, item.to = "in_transit", hold.pickup
        elif item.status != "in_transit":
            item.status = "reserved"

    def _of(self, book: int) -> list[Item]:
        return [item for item in self.items if item.book == book and not item.is_removed]

    def _line(self, book: int) -> list[Hold]:
        return [hold for hold in self.holds if hold.book == book and hold.status == "waiting"]

    def _open(self) -> list[Loan]:
        return [loan for loan in self.loans if loan.status == "open"]

    def _loan_of(self, item: Item) -> Loan:
        return next(loan for loan in reversed(self.loans) if loan.item is item and loan.status != "returned")

    def _hold_of(self, reader: int, book: int) -> Hold | None:
        mine = (hold for hold in self.holds if hold.reader == reader and hold.book == book and hold.status in OPEN)
        return next(mine, None)

    def _holder(self, item: Item) -> Hold | None:
        return next((hold for hold in self.holds if hold.item is item), None)

    @contextmanager
    def _refusals(self) -> Iterator[Callable[[str, bool], None]]:
        """Collects every rule that is broken: the service may name any of them."""
        codes: list[str] = []
        yield lambda code, is_broken: codes.extend([code] if is_broken else [])
        if codes:
            raise Refused(*codes)
