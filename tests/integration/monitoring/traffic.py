"""A small load: a desk that works without pause, and readers who search."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice
from typing import Any

import httpx2

from tests.integration.commands.command_line import Service

ADMIN, READER, PASSWORD = "admin@library.test", "reader@library.test", "a password for tests"
PRICE_MINOR = 1_200
NUMBERS = count()


def search(service: Service, times: int) -> None:
    """Searches that nobody made before, on a connection each so that every worker gets some."""
    for number in islice(NUMBERS, times):
        httpx2.get(f"{service.address}/api/v1/books?q=history+{number}", timeout=10)


class Desk:
    """An administrator and a reader, both signed in."""

    def __init__(self, service: Service) -> None:
        self._url = f"{service.address}/api/v1"
        account = {"email": READER, "password": PASSWORD, "full_name": "A reader"}
        self._reader = httpx2.post(f"{self._url}/auth/register", json=account, timeout=10).json()
        self._tokens = {email: self._sign_in(email) for email in (ADMIN, READER)}
        self._lend(self._book())
        self._post("bookings", {"book_id": self._book()[0]}, email=READER)

    def serve(self) -> None:
        """One book's day: bought, booked, lent, renewed, returned; then lent again, lost and paid for."""
        book = self._book()
        self._post("bookings", {"book_id": book[0]}, email=READER)
        self._post(f"loans/{self._lend(book)}/renew", {})
        self._post("returns", {"copy_barcode": book[1]})
        charged = self._post(f"loans/{self._lend(book)}/lost", {})["charged"]["amount_minor"]
        self._post(f"users/{self._reader['id']}/payments", {"amount_minor": charged})
        for path in (f"books/{book[0]}", f"books/{book[0]}/availability", "books", "books?q=dune"):
            httpx2.get(f"{self._url}/{path}", timeout=10)

    def _book(self) -> tuple[int, str]:
        """A new one with a copy: its id and the barcode."""
        book: int = self._post("books", {"title": "Dune"})["id"]
        barcode = f"T{book}"
        self._post(f"books/{book}/copies", {"barcode": barcode, "price_minor": PRICE_MINOR})
        return book, barcode

    def _lend(self, book: tuple[int, str]) -> str:
        lent = {"copy_barcode": book[1], "card_number": self._reader["card_number"]}
        loan: str = self._post("loans", lent)["id"]
        return loan

    def _sign_in(self, email: str) -> str:
        given = {"email": email, "password": PASSWORD}
        token: str = httpx2.post(f"{self._url}/auth/login", json=given, timeout=10).json()["access_token"]
        return token

    def _post(self, path: str, body: dict[str, Any], *, email: str = ADMIN) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._tokens[email]}"}
        answer = httpx2.post(f"{self._url}/{path}", json=body, headers=headers, timeout=10).raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def going_on(work: Callable[[], None], *, pause_seconds: float) -> Iterator[None]:
    """Do it again and again beside the test; what fails during a fault is the fault's."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(pause_seconds):
            with suppress(httpx2.HTTPError):
                work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
