"""Bookings, loans and returns over HTTP: what a reader and a desk live through."""

from datetime import date

import httpx2
import pytest
from sqlalchemy import update

from app.core.db import Database
from app.users.models import User
from tests.conftest import Person
from tests.integration.api.desk import API, Desk, book, refused

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(librarian: Person) -> Desk:
    return Desk(librarian)


async def test_a_reader_books_collects_renews_and_returns(
    desk: Desk, reader: Person, client: httpx2.AsyncClient
) -> None:
    book_id = await desk.book("3001")
    placed = await book(reader, book_id)
    assert (placed.status_code, placed.json()["status"], placed.json()["position"]) == (201, "allocated", None)
    pull = (await desk.client.get(f"{API}/desk/pull-list")).json()["items"]
    assert [(row["barcode"], row["card_number"]) for row in pull] == [("3001", reader.card_number)]

    fetched = await desk.give_back("3001")
    assert (fetched["action"], fetched["for_card"], fetched["copy"]["status"]) == (
        "hold_shelf", reader.card_number, "on_hold_shelf"
    )  # fmt: skip
    shelf = (await desk.client.get(f"{API}/desk/hold-shelf")).json()["items"]
    assert [row["barcode"] for row in shelf] == ["3001"]
    assert shelf[0]["pickup_until"] is not None

    lent = await desk.lend("3001", reader)
    assert lent.status_code == 201, lent.text
    loan = lent.json()
    assert (loan["status"], loan["is_overdue"], loan["renewals_left"]) == ("open", False, 2)
    assert (await reader.client.get(f"{API}/bookings/{placed.json()['id']}")).json()["status"] == "fulfilled"
    assert (await client.get(f"{API}/books/{book_id}/availability")).json() == {
        "total": 1,
        "available": 0,
        "waiting": 0,
    }

    renewed = await reader.client.post(f"{API}/loans/{loan['id']}/renew")
    assert (renewed.status_code, renewed.json()["renewals"], renewed.json()["due_at"]) == (200, 1, loan["due_at"])

    returned = await desk.give_back("3001")
    assert (returned["action"], returned["loan"]["status"], returned["charged"]["amount_minor"]) == (
        "reshelve", "returned", 0
    )  # fmt: skip
    again = await desk.give_back("3001")
    assert (again["action"], again["loan"], again["scan_id"]) == ("reshelve", None, None)


async def test_a_queue_says_the_place_and_when_to_expect_the_book(
    desk: Desk, reader: Person, admin: Person, librarian: Person
) -> None:
    book_id = await desk.book("3001")
    loan = (await desk.lend("3001", admin)).json()
    first, second = (await book(reader, book_id)).json(), (await book(librarian, book_id)).json()
    assert (first["status"], first["position"], first["ahead"], first["expected_at"]) == (
        "waiting", 1, 0, loan["due_at"]
    )  # fmt: skip
    assert (second["position"], second["ahead"], second["ahead_by_priority"]) == (2, 1, 0)
    assert second["expected_at"] > first["expected_at"]
    refused(await desk.client.post(f"{API}/loans/{loan['id']}/renew"), 409, "others_waiting")
    returned = await desk.give_back("3001")
    assert (returned["action"], returned["booking"]["id"]) == ("hold_shelf", first["id"])
    refused(await desk.lend("3001", librarian), 409, "promised_to_another")
    cancelled = await reader.client.post(f"{API}/bookings/{first['id']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    assert (await desk.client.get(f"{API}/bookings/{second['id']}")).json()["status"] == "allocated"


async def test_refusals_name_the_rule_and_change_nothing(
    desk: Desk, reader: Person, admin: Person, database: Database
) -> None:
    book_id = await desk.book("3001", "3002")
    await desk.book("3003", item_type="reference")
    await admin.client.post(f"{API}/policies", json={"item_type": "reference", "loan_days": 0})
    await admin.client.post(f"{API}/policies", json={"loan_limit": 1, "booking_limit": 1})
    refused(await desk.lend("nothing", reader), 404, "copy_not_found")
    unknown = await desk.client.post(f"{API}/loans", json={"copy_barcode": "3001", "card_number": "000"})
    refused(unknown, 404, "reader_not_found")
    refused(await desk.lend("3003", reader), 409, "not_for_loan")
    refused(await desk.lend("3001", reader, branch="nowhere"), 422, "unknown_branch")
    assert (await desk.lend("3001", reader)).status_code == 201
    refused(await desk.lend("3001", reader), 409, "already_on_loan")
    refused(await desk.lend("3001", admin), 409, "copy_on_loan")
    refused(await desk.lend("3002", reader), 409, "loan_limit_reached")
    refused(await book(reader, book_id), 409, "already_borrowed")
    for values, code in (
        ({"expires_on": date(2020, 1, 1)}, "card_expired"),
        ({"expires_on": None, "blocked_reason": "unpaid charges"}, "reader_blocked"),
    ):
        async with database.transaction() as session:
            await session.execute(update(User).where(User.email == reader.email).values(**values))
        refused(await desk.lend("3002", reader), 409, code)
        refused(await book(reader, await desk.book()), 409, code)
    copies = (await desk.client.get(f"{API}/books/{book_id}/copies")).json()["items"]
    assert [copy["status"] for copy in copies] == ["on_loan", "available"]


async def test_an_override_lifts_the_rules_that_it_names_and_no_others(
    desk: Desk, reader: Person, admin: Person
) -> None:
    await desk.book("3001")
    await desk.book("3002")
    await admin.client.post(f"{API}/policies", json={"loan_limit": 0})
    refused(await desk.lend("3001", reader), 409, "loan_limit_reached")
    wrong = {"rules": ["blocked"], "reason": "asked nicely"}
    refused(await desk.lend("3001", reader, override=wrong), 409, "loan_limit_reached")
    unknown = {"rules": ["everything"], "reason": "x"}
    refused(await desk.lend("3001", reader, override=unknown), 422, "unknown_rule")
    right = {"rules": ["limit"], "reason": "thesis"}
    assert (await desk.lend("3001", reader, override=right)).status_code == 201
    refused(await desk.lend("3001", admin, override=right), 409, "copy_on_loan")


async def test_a_displaced_booking_waits_again_in_its_old_place(
    desk: Desk, reader: Person, admin: Person, librarian: Person
) -> None:
    book_id = await desk.book("3001")
    mine = (await book(reader, book_id)).json()
    later = (await book(librarian, book_id)).json()
    override = {"rules": ["promised_to_another"], "reason": "needed for an exam today"}
    assert (await desk.lend("3001", admin, override=override)).status_code == 201
    again = (await reader.client.get(f"{API}/bookings/{mine['id']}")).json()
    assert (again["status"], again["position"], again["placed_at"]) == ("waiting", 1, mine["placed_at"])
    assert (await desk.client.get(f"{API}/bookings/{later['id']}")).json()["position"] == 2


async def test_a_reader_sees_and_changes_only_what_is_his(desk: Desk, reader: Person, admin: Person) -> None:
    book_id = await desk.book("3001")
    loan = (await desk.lend("3001", admin)).json()
    booking = (await book(admin, await desk.book("3002"))).json()
    refused(await reader.client.get(f"{API}/bookings/{booking['id']}"), 404, "booking_not_found")
    refused(await reader.client.post(f"{API}/bookings/{booking['id']}/cancel"), 404, "booking_not_found")
    refused(await reader.client.post(f"{API}/loans/{loan['id']}/renew"), 404, "loan_not_found")
    refused(await reader.client.get(f"{API}/loans/{loan['id']}"), 404, "loan_not_found")
    for attempt in (
        reader.client.get(f"{API}/bookings"),
        reader.client.get(f"{API}/desk/pull-list"),
        reader.client.post(f"{API}/returns", json={"copy_barcode": "3001"}),
        reader.client.post(f"{API}/loans", json={"copy_barcode": "3001", "card_number": reader.card_number}),
        book(reader, book_id, card_number=admin.card_number),
        book(reader, book_id, recall=True),
    ):
        refused(await attempt, 403, "forbidden")


async def test_a_suspended_booking_lets_others_go_first_and_keeps_its_place(
    desk: Desk, reader: Person, admin: Person, librarian: Person
) -> None:
    book_id = await desk.book("3001")
    await desk.lend("3001", admin)
    mine, other = (await book(reader, book_id)).json(), (await book(librarian, book_id)).json()
    url = f"{API}/bookings/{mine['id']}"
    suspended = await reader.client.post(f"{url}/suspend", json={"until": "2099-01-31"})
    assert (suspended.json()["status"], suspended.json()["suspended_until"]) == ("suspended", "2099-01-31")
    refused(await reader.client.post(f"{API}/bookings/{other['id']}/resume"), 404, "booking_not_found")
    assert (await desk.give_back("3001"))["booking"]["id"] == other["id"]
    resumed = (await reader.client.post(f"{url}/resume")).json()
    assert (resumed["status"], resumed["position"], resumed["placed_at"]) == ("waiting", 1, mine["placed_at"])
    refused(await reader.client.post(f"{url}/resume"), 409, "booking_not_suspended")


async def test_a_copy_travels_to_the_branch_where_it_is_wanted_and_home_again(
    desk: Desk, reader: Person, admin: Person
) -> None:
    await admin.client.post(f"{API}/branches", json={"id": "river", "name": "Riverside"})
    book_id = await desk.book("3001", branch="main")
    await book(reader, book_id, pickup_branch="river")
    sent = await desk.give_back("3001", branch="main")
    assert (sent["action"], sent["to_branch"], sent["copy"]["status"]) == ("transfer", "river", "in_transit")
    assert (await desk.give_back("3001", branch="main"))["action"] == "transfer", "scanning twice changes nothing"
    refused(await desk.lend("3001", reader, branch="main"), 409, "copy_not_lendable")
    arrived = await desk.give_back("3001", branch="river")
    assert (arrived["action"], arrived["for_card"]) == ("hold_shelf", reader.card_number)
    assert (await desk.lend("3001", reader, branch="river")).status_code == 201
    back = await desk.give_back("3001", branch="river")
    assert (back["action"], back["to_branch"]) == ("transfer", "main")
    assert (await desk.give_back("3001", branch="main"))["action"] == "reshelve"
