"""A desk outside, which books, lends and takes back without a pause, and keeps a ledger of what it was told."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import httpx2

from tests.integration.stack.client import Client
from tests.integration.stack.running import Stack

API: Final = "/api/v1"
BOOKS: Final = 5
PAUSE_SECONDS: Final = 0.1
TRIES: Final = 20


@dataclass
class Ledger:
    """What was acknowledged: the ids of bookings and loans, and how often a request had to be sent again."""

    bookings: list[str] = field(default_factory=list)
    loans: list[str] = field(default_factory=list)
    returns: int = 0
    sent_again: int = 0
    refused: list[str] = field(default_factory=list)


class Desk:
    """One book has one copy, so that whatever is done twice or lost shows."""

    def __init__(self, stack: Stack, client: Client, mark: str) -> None:
        """`mark` tells its accounts and copies from another desk's."""
        self._client = client
        self._mark = mark
        self.ledger = Ledger()
        admin, reader = f"desk-{mark}@library.test", f"borrower-{mark}@library.test"
        self._desk = account(stack, client, admin, "admin")
        self._reader = account(stack, client, reader, "reader")
        self._card = client.get(f"{API}/auth/me", headers=self._reader).json()["card_number"]
        self._copies = [self._book(number) for number in range(BOOKS)]

    def work(self, is_over: threading.Event) -> None:
        """Book, lend and take back one book after the other until it is over."""
        number = 0
        while not is_over.is_set():
            book_id, barcode = self._copies[number % BOOKS]
            number += 1
            booked = self._must(self._reader, "/bookings", {"book_id": book_id, "pickup_branch": "main"})
            self.ledger.bookings.append(booked["id"])
            lent = self._must(
                self._desk, "/loans", {"copy_barcode": barcode, "card_number": self._card, "branch": "main"}
            )
            self.ledger.loans.append(lent["id"])
            self._must(self._desk, "/returns", {"copy_barcode": barcode, "branch": "main"})
            self.ledger.returns += 1
            is_over.wait(PAUSE_SECONDS)

    def stored(self, what: str) -> list[dict[str, Any]]:
        """All of the reader's `loans` or `bookings` as they stand."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = self._client.get(f"{API}/auth/me/{what}?limit=100{cursor}", headers=self._reader)
            page = answer.json()
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    def _book(self, number: int) -> tuple[int, str]:
        book_id: int = self._must(self._desk, "/books", {"title": f"Lamp {number}"})["id"]
        barcode = f"DESK-{self._mark}-{number}"
        self._must(self._desk, f"/books/{book_id}/copies", {"barcode": barcode, "branch": "main"})
        return book_id, barcode

    def _must(self, who: dict[str, str], path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send until it is answered, with one key for all tries, as every client of ours should."""
        headers = who | {"Idempotency-Key": uuid4().hex}
        for _ in range(TRIES):
            try:
                answer = self._client.post(API + path, body, headers=headers)
            except httpx2.HTTPError as error:
                said = type(error).__name__
            else:
                if answer.status_code < 300:
                    told: dict[str, Any] = answer.json()
                    return told
                said = f"{answer.status_code} {answer.text[:200]}"
            self.ledger.sent_again += 1
            self.ledger.refused.append(f"{path}: {said}")
            threading.Event().wait(0.2)
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


def account(stack: Stack, client: Client, email: str, role: str) -> dict[str, str]:
    """Make one and sign it in; returns the header that says who asks."""
    made = stack.running["api-1"].run("library", "user", "create", "--email", email, "--role", role)
    (password,) = re.findall(r"Password: (\S+)", made.stdout)
    answer = client.post(f"{API}/auth/login", {"email": email, "password": password})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
