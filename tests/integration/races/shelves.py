"""Shelves and queues in memory: what the product says of copies and bookings, written without the service's code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

SET_ASIDE = ("in_repair", "missing", "withdrawn")
OPEN = ("waiting", "suspended", "allocated", "ready")
BOOKING_LIMIT, PICKUP_DAYS = 3, 2
OPEN_WEEKDAYS = {"main": (1, 2, 3, 4, 5, 6), "river": (1, 2, 3, 4, 5)}
OPENING = datetime(2027, 3, 1, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
RESTORABLE = 30 * DAY


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
    removed_at: datetime | None = None

    @property
    def is_removed(self) -> bool:
        return self.removed_at is not None


@dataclass
class Hold:
    number: int
    reader: int
    book: int
    pickup: str
    priority: int
    status: str = "waiting"
    item: Item | None = None
    pickup_until: datetime | None = None
    closed_at: datetime | None = None
    is_faded: bool = False


@dataclass
class Loan:
    number: int
    item: Item
    reader: int
    branch: str
    due_at: datetime
    lent_at: datetime
    status: str = "open"
    renewals: int = 0
    is_recalled: bool = False
    is_claimed: bool = False
    is_faded: bool = False
    returned_at: datetime | None = None


@dataclass
class Shelves:
    """Copies and who waits for them. `letters` holds what is in the outbox, by (kind, number of the hold or loan)."""

    now: datetime = OPENING
    items: list[Item] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    loans: list[Loan] = field(default_factory=list)
    blocked: set[int] = field(default_factory=set)
    merged: dict[int, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    letters: set[tuple[str, int]] = field(default_factory=set)

    def place(self, reader: int, book: int, pickup: str, priority: int) -> Hold:
        with self.refusals() as refuse:
            refuse("book_merged", book in self.merged)
            refuse("reader_blocked", reader in self.blocked)
            refuse("already_borrowed", self.has_on_loan(reader, book))
            refuse("already_booked", self.hold_of(reader, book) is not None)
            mine = [hold for hold in self.holds if hold.reader == reader and hold.status in OPEN]
            refuse("booking_limit_reached", len(mine) >= BOOKING_LIMIT)
            kept = [item for item in self._of(book) if item.status != "withdrawn"]
            refuse("not_for_loan", bool(kept) and not any(item.is_lendable for item in kept))
        free = [item for item in self._of(book) if item.status == "available" and item.is_lendable]
        free.sort(key=lambda item: (item.home != pickup, item.number))
        hold = Hold(len(self.holds), reader, book, pickup, priority)
        self.holds.append(hold)
        self.events.append("booking_placed")
        if free:
            hold.status, hold.item, free[0].status = "allocated", free[0], "reserved"
        return hold

    def cancel(self, hold: Hold, status: str = "cancelled") -> None:
        if hold.status not in OPEN:
            raise Refused("booking_closed")
        item = self.close(hold, status)
        if item:
            self.free(item, in_hand=False)

    def expire(self) -> None:
        late = [
            hold for hold in self.holds if hold.pickup_until and hold.status == "ready" and self.now > hold.pickup_until
        ]
        for hold in sorted(late, key=lambda hold: (hold.pickup_until or self.now, hold.number)):
            self.letters.add(("booking_expired", hold.number))
            self.cancel(hold, "expired")

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

    def restate(self, item: Item, status: str) -> None:
        if item.is_removed:
            raise Refused("copy_gone")
        if item.status == status:
            return
        sets_aside = status in SET_ASIDE and item.status not in {"on_loan", "withdrawn"}
        sets_aside = sets_aside and (item.status != "lost" or status == "withdrawn")
        if not sets_aside and not (status == "available" and item.status in {"in_repair", "missing"}):
            raise Refused("status_not_allowed")
        holder = self.holder(item)
        if holder:
            self.requeue(holder)
        item.status, item.to = status, None
        self.events.append("copy_status_changed")
        if status == "available":
            self.free(item, in_hand=False)
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
        item.removed_at = self.now

    def restore(self, item: Item) -> None:
        if item.removed_at and self.now - item.removed_at > RESTORABLE:
            raise Refused("undo_too_late")
        item.removed_at = None
        self.settle(item.book)

    def settle(self, book: int) -> None:
        for item in self._of(book):
            if self._line(book) and item.status == "available":
                self.free(item, in_hand=False)

    def arrive(self, item: Item, branch: str) -> None:
        item.at = branch
        self.free(item, in_hand=True)

    def check_in(self, item: Item, branch: str) -> None:
        """A scan of a copy that is neither on loan nor out of use."""
        stays = (
            (item.status == "on_hold_shelf" and item.at == branch)
            or (item.status == "available" and item.home == branch)
            or (item.status == "in_transit" and item.at == branch and item.to != branch)
        )
        if stays:
            return
        holder = self.holder(item)
        if holder:
            item.at = branch
            self.promise(holder, item, in_hand=True)
        else:
            self.events.append("copy_arrived")
            self.arrive(item, branch)

    def free(self, item: Item, *, in_hand: bool) -> None:
        line = self._line(item.book)
        if line and item.is_lendable:
            self.promise(line[0], item, in_hand=in_hand)
        elif item.status == "in_transit" and not in_hand:
            pass
        elif item.at == item.home:
            item.status, item.to = "available", None
        else:
            item.status, item.to = "in_transit", item.home

    def promise(self, hold: Hold, item: Item, *, in_hand: bool) -> None:
        hold.item = item
        if in_hand and item.at == hold.pickup:
            hold.status, item.status, item.to = "ready", "on_hold_shelf", None
            hold.pickup_until = self.day_end(self.open_day(hold.pickup, PICKUP_DAYS))
            self.events.append("booking_ready")
            self.letters.add(("booking_ready", hold.number))
            return
        hold.status = "allocated"
        self.letters.discard(("booking_ready", hold.number))
        self.events.append("booking_allocated")
        if in_hand:
            item.status, item.to = "in_transit", hold.pickup
        elif item.status != "in_transit":
            item.status = "reserved"

    def requeue(self, hold: Hold) -> None:
        hold.status, hold.item = "waiting", None
        self.letters.discard(("booking_ready", hold.number))
        self.events.append("booking_requeued")

    def close(self, hold: Hold, status: str) -> Item | None:
        """Ends a booking; gives the copy that was promised to it."""
        item, hold.item, hold.status, hold.closed_at = hold.item, None, status, self.now
        self.letters.discard(("booking_ready", hold.number))
        self.events.append(f"booking_{status}")
        return item

    def has_on_loan(self, reader: int, book: int) -> bool:
        return any(loan.reader == reader and loan.item.book == book for loan in self.open_loans())

    def open_loans(self) -> list[Loan]:
        return [loan for loan in self.loans if loan.status == "open"]

    def hold_of(self, reader: int, book: int) -> Hold | None:
        mine = (hold for hold in self.holds if hold.reader == reader and hold.book == book and hold.status in OPEN)
        return next(mine, None)

    def holder(self, item: Item) -> Hold | None:
        return next((hold for hold in self.holds if hold.item is item), None)

    def _of(self, book: int) -> list[Item]:
        return [item for item in self.items if item.book == book and not item.is_removed]

    def _line(self, book: int) -> list[Hold]:
        waiting = [hold for hold in self.holds if hold.book == book and hold.status == "waiting"]
        return sorted(waiting, key=lambda hold: (hold.priority, hold.number))

    def open_day(self, branch: str, count: int) -> datetime:
        """The `count`-th open day after today."""
        day = self.now
        while count:
            day += DAY
            count -= is_open(branch, day)
        return day

    @staticmethod
    def day_end(day: datetime) -> datetime:
        return day.replace(hour=23, minute=59, second=59)

    @contextmanager
    def refusals(self) -> Iterator[Callable[[str, bool], None]]:
        """Collects every rule that is broken: the service may name any of them."""
        codes: list[str] = []
        yield lambda code, is_broken: codes.extend([code] if is_broken else [])
        if codes:
            raise Refused(*codes)


def is_open(branch: str, day: datetime) -> bool:
    return day.isoweekday() in OPEN_WEEKDAYS[branch]
