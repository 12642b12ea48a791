"""A desk outside, which books, lends and takes back without a pause, and keeps a ledger of what it was told."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import uuid4

import httpx2

from tests.integration.stack.running import Stack

API: Final = "/api/v1"
BOOKS: Final = 5
# Two writes of one token each time, of which a hundred are allowed in ten seconds.
PAUSE_SECONDS: Final = 0.25
TRIES: Final = 20
DESK, READER = "desk", "reader"


@dataclass
class Ledger:
    """What was acknowledged: the ids of bookings and loans, and how often a request had to be sent again."""

    bookings: list[str] = field(default_factory=list)
    loans: list[str] = field(default_factory=list)
    returns: int = 0
    sent_again: int = 0
    refused: list[str] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    """When something was acknowledged, by a clock that only goes on."""


class Asking(Protocol):
    """Who brings a request to the service."""

    def get(self, path: str, **options: Any) -> httpx2.Response: ...

    def post(self, path: str, body: object, **options: Any) -> httpx2.Response: ...


class Desk:
    """One book has one copy, so that whatever is done twice or lost shows."""

    def __init__(self, stack: Stack, client: Asking, mark: str, *, tries: int = TRIES) -> None:
        """`mark` tells its accounts and copies from another desk's; `tries` is how often it sends one thing."""
        self._client = client
        self._tries = tries
        self._mark = mark
        self.ledger = Ledger()
        admin, reader = f"desk-{mark}@library.test", f"borrower-{mark}@library.test"
        self._signs_in = {
            DESK: (admin, created(stack, admin, "admin")),
            READER: (reader, created(stack, reader, "reader")),
        }
        self._headers = {who: self._sign_in(who) for who in self._signs_in}
        self._card = client.get(f"{API}/auth/me", headers=self._headers[READER]).json()["card_number"]
        self._copies = [self._book(number) for number in range(BOOKS)]

    def work(self, is_over: threading.Event) -> None:
        """Book, lend and take back one book after the other until it is over."""
        number = 0
        while not is_over.is_set():
            book_id, barcode = self._copies[number % BOOKS]
            number += 1
            booked = self._must(READER, "/bookings", {"book_id": book_id, "pickup_branch": "main"})
            self.ledger.bookings.append(booked["id"])
            lent = self._must(DESK, "/loans", {"copy_barcode": barcode, "card_number": self._card, "branch": "main"})
            self.ledger.loans.append(lent["id"])
            self._must(DESK, "/returns", {"copy_barcode": barcode, "branch": "main"})
            self.ledger.returns += 1
            is_over.wait(PAUSE_SECONDS)

    def stored(self, what: str) -> list[dict[str, Any]]:
        """All of the reader's `loans` or `bookings` as they stand."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self._page(f"/auth/me/{what}?limit=100{cursor}")
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    def _page(self, path: str) -> dict[str, Any]:
        """What the reader is shown, once he is."""
        for _ in range(self._tries):
            answer = self._client.get(API + path, headers=self._headers[READER])
            if answer.status_code == 200:
                page: dict[str, Any] = answer.json()
                return page
            self._after(READER, answer.status_code)
        raise AssertionError(f"{path}: {answer.status_code} {answer.text}")

    def _after(self, who: str, status: int) -> None:
        """Before it is sent again: whose token has run out signs in anew."""
        if status == 401:
            self._headers[who] = self._sign_in(who)
        threading.Event().wait(0.2)

    def _sign_in(self, who: str) -> dict[str, str]:
        return signed_in(self._client, *self._signs_in[who])

    def _book(self, number: int) -> tuple[int, str]:
        book_id: int = self._must(DESK, "/books", {"title": f"Lamp {number}"})["id"]
        barcode = f"DESK-{self._mark}-{number}"
        self._must(DESK, f"/books/{book_id}/copies", {"barcode": barcode, "branch": "main"})
        return book_id, barcode

    def _must(self, who: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send until it is answered, with one key for all tries, as every client of ours should."""
        key = {"Idempotency-Key": uuid4().hex}
        for _ in range(self._tries):
            status = 0
            try:
                answer = self._client.post(API + path, body, headers=self._headers[who] | key)
            except httpx2.HTTPError as error:
                said = type(error).__name__
            else:
                if answer.status_code < 300:
                    self.ledger.answered_at.append(time.monotonic())
                    told: dict[str, Any] = answer.json()
                    return told
                status = answer.status_code
                said = f"{status} {answer.text[:200]} (retry={answer.headers.get('Retry-After')})"
            self.ledger.sent_again += 1
            self.ledger.refused.append(f"{path}: {said}")
            self._after(who, status)
        raise AssertionError(self.ledger.refused[-1])


@contextmanager
def working(desk: Desk) -> Iterator[Ledger]:
    """The desk works while the block runs; whatever stopped it is raised at the end."""
    is_over, failed = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            desk.work(is_over)
        except BaseException as error:  # noqa: BLE001  # raised below, in the test
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield desk.ledger
    finally:
        is_over.set()
        worker.join()
    if failed:
        raise failed[0]


def account(stack: Stack, client: Asking, email: str, role: str) -> dict[str, str]:
    """Make one and sign it in; returns the header that says who asks."""
    return signed_in(client, email, created(stack, email, role))


def created(stack: Stack, email: str, role: str) -> str:
    """Make an account; returns its password."""
    made = stack.running["api-1"].run("library", "user", "create", "--email", email, "--role", role)
    return str(re.findall(r"Password: (\S+)", made.stdout)[0])


def signed_in(client: Asking, email: str, password: str) -> dict[str, str]:
    answer = client.post(f"{API}/auth/login", {"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
