"""A desk for tests: a librarian who adds books and scans, and readers who ask."""

from typing import Any

import httpx2

from tests.conftest import Person

API = "/api/v1"


class Desk:
    """A librarian who adds books and scans."""

    def __init__(self, librarian: Person) -> None:
        self.client = librarian.client

    async def book(self, *barcodes: str, **copy: Any) -> int:
        book_id: int = (await self.client.post(f"{API}/books", json={"title": "Dune"})).json()["id"]
        for barcode in barcodes:
            added = await self.client.post(f"{API}/books/{book_id}/copies", json={"barcode": barcode, **copy})
            assert added.status_code == 201, added.text
        return book_id

    async def lend(self, barcode: str, who: Person, **more: Any) -> httpx2.Response:
        body = {"copy_barcode": barcode, "card_number": who.card_number, **more}
        return await self.client.post(f"{API}/loans", json=body)

    async def give_back(self, barcode: str, **more: Any) -> dict[str, Any]:
        answer = await self.client.post(f"{API}/returns", json={"copy_barcode": barcode, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


async def book(who: Person, book_id: int, **more: Any) -> httpx2.Response:
    return await who.client.post(f"{API}/bookings", json={"book_id": book_id, **more})


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert len(answer.json()["detail"]) > 10
