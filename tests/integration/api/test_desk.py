"""What goes wrong at a desk and is put right: lost and found, wrong scans, copies set aside, recalls, merges."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import update

from app.core.db import Database
from app.loans.models import Loan, Scan
from tests.conftest import Person
from tests.integration.api.desk import API, Desk, book, refused

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(librarian: Person) -> Desk:
    return Desk(librarian)


async def test_losing_costs_and_finding_gives_it_back(
    desk: Desk, reader: Person, admin: Person, database: Database
) -> None:
    await desk.book("3001", price_minor=1500)
    terms = {"loan_days": 14, "fine_per_day_minor": 20, "fine_cap_minor": 100, "lost_fee_minor": 300}
    await admin.client.post(f"{API}/policies", json=terms)
    loan = (await desk.lend("3001", reader)).json()
    async with database.transaction() as session:
        await session.execute(update(Loan).values(due_at=datetime.now(UTC) - timedelta(days=30)))
    lost = await desk.client.post(f"{API}/loans/{loan['id']}/lost")
    assert (lost.status_code, lost.json()["charged"]["amount_minor"]) == (200, 1800)
    assert await _balance(reader) == 1800
    found = await desk.give_back("3001")
    assert (found["action"], found["charged"]["amount_minor"]) == ("reshelve", 100)
    assert await _balance(reader) == 400, "the price is reversed, the fee stays, being late is charged up to the cap"
    refused(await desk.client.post(f"{API}/loans/{loan['id']}/lost"), 409, "loan_closed")


async def _balance(who: Person) -> int:
    amount: int = (await who.client.get(f"{API}/auth/me/charges")).json()["balance"]["amount_minor"]
    return amount


async def test_a_wrong_loan_is_taken_back_within_ten_minutes(
    desk: Desk, reader: Person, admin: Person, database: Database
) -> None:
    book_id = await desk.book("3001")
    booking = (await book(reader, book_id)).json()
    await desk.give_back("3001")
    scan = (await desk.lend("3001", reader)).json()["scan_id"]
    undone = await desk.client.post(f"{API}/desk/undo", json={"scan_id": scan})
    assert (undone.status_code, undone.json()["copy"]["status"]) == (200, "on_hold_shelf"), undone.text
    assert (await reader.client.get(f"{API}/bookings/{booking['id']}")).json()["status"] == "ready"
    assert (await desk.client.post(f"{API}/desk/undo", json={"scan_id": scan})).status_code == 200

    scan = (await desk.lend("3001", reader)).json()["scan_id"]
    async with database.transaction() as session:
        await session.execute(update(Scan).values(scanned_at=datetime.now(UTC) - timedelta(minutes=11)))
    refused(await desk.client.post(f"{API}/desk/undo", json={"scan_id": scan}), 409, "scan_too_old")


async def test_a_wrong_return_is_taken_back_and_whoever_got_the_copy_waits_again(
    desk: Desk, reader: Person, admin: Person
) -> None:
    book_id = await desk.book("3001")
    await desk.lend("3001", admin)
    mine = (await book(reader, book_id)).json()
    scan = (await desk.give_back("3001"))["scan_id"]
    undone = await desk.client.post(f"{API}/desk/undo", json={"scan_id": scan})
    assert undone.json()["copy"]["status"] == "on_loan", undone.text
    again = (await reader.client.get(f"{API}/bookings/{mine['id']}")).json()
    assert (again["status"], again["position"]) == ("waiting", 1)
    second = (await desk.give_back("3001"))["scan_id"]
    await desk.lend("3001", reader)
    refused(await desk.client.post(f"{API}/desk/undo", json={"scan_id": second}), 409, "scan_overtaken")


async def test_a_copy_set_aside_leaves_its_reader_another_or_his_place(
    desk: Desk, reader: Person, librarian: Person
) -> None:
    book_id = await desk.book("3001", "3002")
    mine = (await book(reader, book_id)).json()
    ids = [copy["id"] for copy in (await desk.client.get(f"{API}/books/{book_id}/copies")).json()["items"]]
    changed = await desk.client.post(f"{API}/copies/{ids[0]}/status", json={"status": "missing", "reason": "not found"})
    assert (changed.status_code, changed.json()["status"]) == (200, "missing")
    assert (await desk.give_back("3002"))["booking"]["id"] == mine["id"], "the other free copy"
    for status in ("in_repair", "missing"):
        await desk.client.post(f"{API}/copies/{ids[1]}/status", json={"status": status, "reason": "torn"})
    waiting = (await reader.client.get(f"{API}/bookings/{mine['id']}")).json()
    assert (waiting["status"], waiting["placed_at"]) == ("waiting", mine["placed_at"])
    back = await desk.client.post(f"{API}/copies/{ids[0]}/status", json={"status": "available", "reason": "found"})
    assert back.json()["status"] == "reserved"
    await desk.client.post(f"{API}/copies/{ids[1]}/status", json={"status": "withdrawn", "reason": "worn out"})
    gone = await desk.client.post(f"{API}/copies/{ids[1]}/status", json={"status": "available", "reason": "x"})
    refused(gone, 409, "status_not_allowed")


async def test_a_recall_shortens_a_loan_but_not_below_its_minimum(desk: Desk, reader: Person, admin: Person) -> None:
    book_id = await desk.book("3001")
    await admin.client.post(f"{API}/policies", json={"loan_days": 60, "minimum_loan_days": 21})
    loan = (await desk.lend("3001", admin)).json()
    recalled = await book(Person(desk.client, "", ""), book_id, card_number=reader.card_number, recall=True)
    assert (recalled.status_code, recalled.json()["status"]) == (201, "waiting"), recalled.text
    now = (await desk.client.get(f"{API}/loans/{loan['id']}")).json()
    assert now["recalled_at"] is not None
    days = (datetime.fromisoformat(now["due_at"]) - datetime.now(UTC)).days
    assert 20 <= days <= 22, now["due_at"]


async def test_merged_books_have_one_queue_and_the_old_address_leads_to_the_new(
    desk: Desk, reader: Person, admin: Person, librarian: Person, client: httpx2.AsyncClient
) -> None:
    old, kept = await desk.book("3001"), await desk.book("3002")
    await desk.lend("3001", admin)
    await desk.lend("3002", admin, override={"rules": ["limit"], "reason": "x"})
    first = (await book(librarian, old)).json()
    second = (await book(reader, kept)).json()
    double = (await book(reader, old)).json()
    merged = await desk.client.post(f"{API}/books/{old}/merge", json={"into": kept})
    assert merged.status_code == 204, merged.text
    places = {
        booking["id"]: (booking["status"], booking["position"], booking["book_id"])
        for booking in (await desk.client.get(f"{API}/bookings")).json()["items"]
    }
    assert places == {
        first["id"]: ("waiting", 1, kept),
        second["id"]: ("waiting", 2, kept),
        double["id"]: ("cancelled", None, kept),
    }
    moved = await client.get(f"{API}/books/{old}/copies?limit=5")
    assert (moved.status_code, moved.headers["Location"]) == (308, f"{API}/books/{kept}/copies?limit=5")
    assert (await desk.give_back("3001"))["booking"]["id"] == first["id"]
    refused(await desk.client.post(f"{API}/books/{kept}/merge", json={"into": kept}), 422, "merge_into_itself")
    refused(await desk.client.delete(f"{API}/books/{kept}", headers={"If-Match": "*"}), 409, "book_in_use")
