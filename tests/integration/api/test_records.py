"""Records, batches, events and the audit trail over HTTP."""

from typing import Any

import httpx2
import pytest

from tests.conftest import Person

pytestmark = pytest.mark.anyio

API = "/api/v1"


async def _book(who: Person, *barcodes: str) -> int:
    book_id: int = (await who.client.post(f"{API}/books", json={"title": "Dune"})).json()["id"]
    for barcode in barcodes:
        await who.client.post(f"{API}/books/{book_id}/copies", json={"barcode": barcode})
    return book_id


async def _items(client: httpx2.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await client.get(f"{API}{path}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_reader_sees_his_record_and_who_of_the_staff_looked_at_it(librarian: Person, reader: Person) -> None:
    await _book(librarian, "3001")
    waiting = await _book(librarian)
    loan = {"copy_barcode": "3001", "card_number": reader.card_number}
    await librarian.client.post(f"{API}/loans", json=loan)
    await reader.client.post(f"{API}/bookings", json={"book_id": waiting})
    assert [item["copy_barcode"] for item in await _items(reader.client, "/auth/me/loans?status=open")] == ["3001"]
    assert await _items(reader.client, "/auth/me/loans?status=returned") == []
    assert [item["position"] for item in await _items(reader.client, "/auth/me/bookings?status=open")] == [1]
    me = (await reader.client.get(f"{API}/auth/me")).json()["id"]
    assert await _items(reader.client, "/auth/me/views") == []
    assert len(await _items(librarian.client, f"/users/{me}/loans")) == 1
    assert len(await _items(librarian.client, f"/users/{me}/bookings")) == 1
    views = await _items(reader.client, "/auth/me/views")
    assert [(view["what"], view["role"], view["by"]) for view in views] == [
        ("bookings", "librarian", "A librarian"), ("loans", "librarian", "A librarian")
    ]  # fmt: skip
    for path in (f"/users/{me}/loans", f"/users/{me}/bookings"):
        assert (await reader.client.get(f"{API}{path}")).status_code == 403


async def test_a_batch_answers_row_by_row_and_does_nothing_twice(
    librarian: Person, reader: Person, admin: Person
) -> None:
    book_id = await _book(librarian, "3001")
    rows = [
        {"book_id": book_id, "card_number": reader.card_number},
        {"book_id": book_id, "card_number": "000"},
        {"book_id": 999_999, "card_number": reader.card_number},
        {"book_id": book_id, "card_number": admin.card_number},
        {"book_id": book_id, "card_number": reader.card_number},
    ]
    key = {"Idempotency-Key": "class-7b"}
    first = await librarian.client.post(f"{API}/bookings/batch", json={"items": rows}, headers=key)
    assert first.status_code == 200, first.text
    answered = [(item["status"], item["code"]) for item in first.json()["items"]]
    assert answered == [
        (201, None), (404, "reader_not_found"), (404, "book_not_found"), (201, None), (409, "already_booked")
    ]  # fmt: skip
    again = await librarian.client.post(f"{API}/bookings/batch", json={"items": rows}, headers=key)
    ids = [[item["booking"] and item["booking"]["id"] for item in answer.json()["items"]] for answer in (first, again)]
    assert ids[0] == ids[1]
    assert len(await _items(librarian.client, "/bookings?status=open")) == 2
    assert (await reader.client.post(f"{API}/bookings/batch", json={"items": rows})).status_code == 403


async def test_events_come_in_order_without_gaps_and_name_no_reader(
    librarian: Person, reader: Person, admin: Person
) -> None:
    book_id = await _book(librarian, "3001")
    await reader.client.post(f"{API}/bookings", json={"book_id": book_id})
    await librarian.client.post(f"{API}/returns", json={"copy_barcode": "3001"})
    loan = {"copy_barcode": "3001", "card_number": reader.card_number}
    await librarian.client.post(f"{API}/loans", json=loan)
    await librarian.client.post(f"{API}/returns", json={"copy_barcode": "3001"})
    kinds, after = [], 0
    while True:
        page = (await librarian.client.get(f"{API}/events?after={after}&limit=2")).json()
        if not page["items"]:
            break
        kinds += [event["kind"] for event in page["items"]]
        after = page["last"]
        assert reader.card_number not in str(page)
    circulation = [kind for kind in kinds if kind.startswith(("booking", "loan"))]
    assert circulation == ["booking_placed", "booking_ready", "loan_opened", "booking_fulfilled", "loan_returned"]
    assert (await reader.client.get(f"{API}/events")).status_code == 403
    trail = await _items(admin.client, "/audit?action=loan_opened")
    assert [(entry["actor_role"], entry["subject"]) for entry in trail] == [("librarian", None)]
    assert (await librarian.client.get(f"{API}/audit")).status_code == 403


async def test_a_policy_that_opens_a_way_hands_free_copies_out(
    librarian: Person, reader: Person, admin: Person, client: httpx2.AsyncClient
) -> None:
    book_id = await _book(librarian)
    waiting = (await reader.client.post(f"{API}/bookings", json={"book_id": book_id})).json()
    policy = await admin.client.post(f"{API}/policies", json={"item_type": "reference", "loan_days": 0})
    await librarian.client.post(f"{API}/books/{book_id}/copies", json={"barcode": "3001", "item_type": "reference"})
    assert (await client.get(f"{API}/books/{book_id}/availability")).json() == {
        "total": 1,
        "available": 1,
        "waiting": 1,
    }
    await admin.client.patch(policy.headers["Location"], json={"loan_days": 7}, headers={"If-Match": "*"})
    assert (await reader.client.get(f"{API}/bookings/{waiting['id']}")).json()["status"] == "allocated"
