"""The library of a soak, and what its readers and desks want next, from what they were told so far.

What they were told is often out of date by the time they act on it, as in a library: a refusal is an answer too.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from app.core.config import Settings
from app.core.db import Database
from benchmarks.soaking.ledger import Intent
from tests.circulation import Library
from tests.tokens import librarian, sign_in

BRANCHES: Final = ("main", "east")
DESKS: Final = 6
ROOT: Final = "/api/v1"
REMEMBERED: Final = 400
WEIGHTS: Final = {
    "book": 24, "lend": 22, "return": 24, "renew": 5, "cancel": 7, "suspend": 3, "resume": 3, "lose": 1.5, "claim": 1.5,
    "status": 3, "undo": 4,
}  # fmt: skip


@dataclass(slots=True)
class World:
    """Readers (card and token), desks (token), copies (barcode and id), and what is known of what is open."""

    random: random.Random
    readers: dict[str, str]
    desks: list[str]
    books: list[int]
    copies: dict[str, int]
    bookings: dict[str, str] = field(default_factory=dict)
    suspended: dict[str, str] = field(default_factory=dict)
    loans: dict[str, str] = field(default_factory=dict)
    to_collect: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    to_scan: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    on_loan: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    set_aside: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    scans: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def next_intent(self) -> Intent:
        """What somebody wants now, by the weights; when there is nothing to do it to, he books."""
        [what] = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        chooser: Callable[[], Intent | None] = getattr(self, f"_{what}")
        return chooser() or self._book()

    def learn(self, intent: Intent, said: dict[str, Any]) -> None:
        """Take note of a success."""
        match intent.what:
            case "book":
                card = intent.body.get("card_number")
                self.bookings[said["id"]] = self.readers[card] if card else intent.token
            case "cancel":
                self.bookings.pop(said["id"], None)
                self.suspended.pop(said["id"], None)
            case "suspend":
                self.suspended[said["id"]] = intent.token
            case "resume":
                self.suspended.pop(said["id"], None)
            case "lend":
                self.loans[said["id"]] = self.readers[intent.body["card_number"]]
                self.on_loan.append(said["copy_barcode"])
                self.scans.append(said["scan_id"])
            case "return":
                self._learn_return(said)
            case "status" if said["status"] in {"in_repair", "missing"}:
                self.set_aside.append(said["id"])

    def learn_shelf(self, rows: list[dict[str, Any]], branch: str) -> None:
        """Take note of a pull list or a hold shelf."""
        for row in rows:
            if row["pickup_until"]:
                self.to_collect.append((row["barcode"], row["card_number"]))
            else:
                self.to_scan.append((row["barcode"], branch))

    def forget(self, intent: Intent) -> None:
        """After a refusal: what it spoke of is not as it was thought to be."""
        about = intent.path.split("/")[-2]
        for known in (self.bookings, self.suspended, self.loans):
            if self.random.random() < 1 / 2:
                known.pop(about, None)

    def desk(self) -> str:
        return self.random.choice(self.desks)

    def branch(self) -> str:
        return self.random.choices(BRANCHES, (4, 1))[0]

    def _learn_return(self, said: dict[str, Any]) -> None:
        barcode = said["copy"]["barcode"]
        if said["scan_id"]:
            self.scans.append(said["scan_id"])
        if said["loan"]:
            self.loans.pop(said["loan"]["id"], None)
        if said["action"] == "hold_shelf" and said["for_card"]:
            self.to_collect.append((barcode, said["for_card"]))
        if said["action"] == "transfer":
            self.to_scan.append((barcode, said["to_branch"]))

    def _book(self) -> Intent:
        card, token = self.random.choice(list(self.readers.items()))
        # A quarter of the wishes is for a few books.
        book = self.random.choice(self.books[:3] if self.random.random() < 1 / 4 else self.books)
        body = {"book_id": book, "pickup_branch": self.branch()}
        if self.random.random() < 1 / 3:
            return Intent("book", f"{ROOT}/bookings", self.desk(), body | {"card_number": card})
        return Intent("book", f"{ROOT}/bookings", token, body)

    def _lend(self) -> Intent | None:
        if self.to_collect and self.random.random() < 3 / 4:
            barcode, card = self.to_collect.popleft()
        else:
            barcode, card = self.random.choice(list(self.copies)), self.random.choice(list(self.readers))
        body = {"copy_barcode": barcode, "card_number": card, "branch": self.branch()}
        return Intent("lend", f"{ROOT}/loans", self.desk(), body)

    def _return(self) -> Intent | None:
        if self.to_scan and self.random.random() < 1 / 2:
            barcode, branch = self.to_scan.popleft()
        elif self.on_loan and self.random.random() < 3 / 4:
            barcode, branch = self.on_loan.popleft(), self.branch()
        else:
            barcode, branch = self.random.choice(list(self.copies)), self.branch()
        return Intent("return", f"{ROOT}/returns", self.desk(), {"copy_barcode": barcode, "branch": branch})

    def _renew(self) -> Intent | None:
        return self._verb("renew", "loans", "renew", self.loans)

    def _cancel(self) -> Intent | None:
        return self._verb("cancel", "bookings", "cancel", self.bookings)

    def _suspend(self) -> Intent | None:
        return self._verb("suspend", "bookings", "suspend", self.bookings)

    def _resume(self) -> Intent | None:
        return self._verb("resume", "bookings", "resume", self.suspended)

    def _lose(self) -> Intent | None:
        return self._verb("lose", "loans", "lost", self.loans)

    def _claim(self) -> Intent | None:
        return self._verb("claim", "loans", "claim-returned", self.loans)

    def _verb(self, what: str, noun: str, verb: str, known: dict[str, str]) -> Intent | None:
        if not known:
            return None
        about = self.random.choice(list(known))
        token = self.desk() if what == "lose" or self.random.random() < 1 / 2 else known[about]
        return Intent(what, f"{ROOT}/{noun}/{about}/{verb}", token)

    def _status(self) -> Intent:
        if self.set_aside and self.random.random() < 2 / 3:
            copy_id, status = self.set_aside.popleft(), "available"
        else:
            copy_id = self.random.choice(list(self.copies.values()))
            status = self.random.choice(("in_repair", "missing"))
        body = {"status": status, "reason": "a soak"}
        return Intent("status", f"{ROOT}/copies/{copy_id}/status", self.desk(), body)

    def _undo(self) -> Intent | None:
        if not self.scans:
            return None
        return Intent("undo", f"{ROOT}/desk/undo", self.desk(), {"scan_id": self.scans.pop()})


async def found(database: Database, settings: Settings, *, seed: int, books: int, readers: int) -> World:
    """Make the library: two branches, books with one to four copies each, readers, and librarians at the desks."""
    chance = random.Random(f"world {seed}")  # noqa: S311  # a load, no secret
    library = Library(database)
    await library.branch(BRANCHES[1])
    book_ids, copies = [], {}
    for _ in range(books):
        book_ids.append(await library.book())
        for _ in range(chance.randint(1, 4)):
            copy = await library.copy(book_ids[-1], branch=chance.choice(BRANCHES))
            copies[copy.barcode] = copy.id
    people = await library.readers(readers)
    tokens = await sign_in(database, settings, people)
    desks = await sign_in(database, settings, [await librarian(database, BRANCHES) for _ in range(DESKS)])
    cards = [person.card_number for person in people]
    return World(chance, dict(zip(cards, tokens, strict=True)), desks, book_ids, copies)
