"""Copies, branches and policies over HTTP."""

import httpx2
import pytest

from tests.conftest import Person

pytestmark = pytest.mark.anyio

API = "/api/v1"


async def _book(who: Person, title: str = "Dune") -> str:
    return f"{API}/books/{(await who.client.post(f'{API}/books', json={'title': title})).json()['id']}"


async def test_a_copy_needs_nothing_but_a_barcode(librarian: Person, client: httpx2.AsyncClient) -> None:
    book = await _book(librarian)
    created = await librarian.client.post(f"{book}/copies", json={"barcode": "3001"})
    assert created.status_code == 201, created.text
    copy = created.json()
    assert (copy["branch"], copy["item_type"], copy["status"], copy["price"]) == ("main", "book", "available", None)
    assert (await librarian.client.get(created.headers["Location"])).json() == copy
    assert (await client.get(f"{book}/availability")).json() == {"total": 1, "available": 1, "waiting": 0}
    assert (await client.get(f"{book}/copies")).json()["items"] == [copy]
    assert (await librarian.client.get(f"{API}/copies?barcode=3001")).json()["items"] == [copy]


async def test_live_counts_come_with_a_list_that_asks_for_them(librarian: Person, client: httpx2.AsyncClient) -> None:
    book = await _book(librarian)
    await _book(librarian, "Emma")
    for barcode in ("3001", "3002"):
        await librarian.client.post(f"{book}/copies", json={"barcode": barcode})
    listed = await client.get(f"{API}/books?include=availability")
    assert [(item["title"], item["availability"]["available"]) for item in listed.json()["items"]] == [
        ("Emma", 0), ("Dune", 2)
    ]  # fmt: skip
    assert listed.headers["Cache-Control"] == "no-store"
    number = book.rpartition("/")[2]
    several = (await client.get(f"{API}/books/availability?ids={number},999")).json()
    assert several == {
        number: {"total": 2, "available": 2, "waiting": 0},
        "999": {"total": 0, "available": 0, "waiting": 0},
    }


async def test_a_barcode_is_on_one_copy_only(librarian: Person) -> None:
    book = await _book(librarian)
    first = await librarian.client.post(f"{book}/copies", json={"barcode": "3001"})
    again = await librarian.client.post(f"{book}/copies", json={"barcode": "3001"})
    assert (again.status_code, again.json()["code"]) == (409, "barcode_taken")
    other = await librarian.client.post(f"{book}/copies", json={"barcode": "3002"})
    for change in ({"barcode": "3001"}, {"barcode": "3001", "branch": "main"}):
        renamed = await librarian.client.patch(other.headers["Location"], json=change, headers={"If-Match": "*"})
        assert (renamed.status_code, renamed.json()["code"]) == (409, "barcode_taken")
    assert (await librarian.client.delete(first.headers["Location"], headers={"If-Match": "*"})).status_code == 204
    reused = await librarian.client.post(f"{book}/copies", json={"barcode": "3001"})
    assert reused.status_code == 201, "the barcode of a removed copy is free"
    assert (await librarian.client.get(first.headers["Location"])).status_code == 410
    restored = await librarian.client.post(f"{first.headers['Location']}/restore")
    assert restored.json()["code"] == "barcode_taken"


async def test_a_librarian_keeps_the_copies_of_his_branches(librarian: Person, admin: Person) -> None:
    await admin.client.post(f"{API}/branches", json={"id": "river", "name": "Riverside"})
    book = await _book(librarian)
    refused = await librarian.client.post(f"{book}/copies", json={"barcode": "3001", "branch": "river"})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_your_branch")
    created = await admin.client.post(f"{book}/copies", json={"barcode": "3001", "branch": "river"})
    assert created.status_code == 201, created.text
    url = created.headers["Location"]
    assert (await librarian.client.patch(url, json={"note": "x"}, headers={"If-Match": "*"})).status_code == 403
    assert (await librarian.client.delete(url, headers={"If-Match": "*"})).status_code == 403
    unknown = await admin.client.post(f"{book}/copies", json={"barcode": "3002", "branch": "nowhere"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_branch")


async def test_a_copy_changes_with_its_version(librarian: Person) -> None:
    book = await _book(librarian)
    url = (await librarian.client.post(f"{book}/copies", json={"barcode": "3001"})).headers["Location"]
    changed = await librarian.client.patch(
        url, json={"price_minor": 1250, "call_number": "813.54 H"}, headers={"If-Match": '"1"'}
    )
    assert changed.json()["price"] == {"amount_minor": 1250, "currency": "EUR"}
    assert changed.headers["ETag"] == '"2"'
    stale = await librarian.client.patch(url, json={"note": "torn"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["current"]["call_number"]) == (412, "813.54 H")
    refused = await librarian.client.patch(url, json={"status": "lost"}, headers={"If-Match": "*"})
    assert refused.status_code == 422, "the status changes by the desk's verbs"


async def test_a_branch_opens_changes_and_closes(admin: Person, librarian: Person, client: httpx2.AsyncClient) -> None:
    created = await admin.client.post(
        f"{API}/branches", json={"id": "river", "name": "Riverside", "timezone": "Europe/Berlin"}
    )
    assert created.status_code == 201, created.text
    url = f"{API}/branches/river"
    assert (await librarian.client.post(f"{API}/branches", json={"id": "x", "name": "X"})).status_code == 403
    again = await admin.client.post(f"{API}/branches", json={"id": "river", "name": "Other"})
    assert (again.status_code, again.json()["code"]) == (409, "branch_exists")
    assert (await admin.client.patch(url, json={"name": "River"}, headers={"If-Match": '"1"'})).json()["version"] == 2
    nonsense = await admin.client.patch(url, json={"timezone": "Mars/Olympus"}, headers={"If-Match": "*"})
    assert nonsense.status_code == 422
    book = await _book(librarian)
    copy = await admin.client.post(f"{book}/copies", json={"barcode": "3001", "branch": "river"})
    in_use = await admin.client.delete(url, headers={"If-Match": "*"})
    assert (in_use.status_code, in_use.json()["in_use"]) == (409, ["copies"])
    await admin.client.delete(copy.headers["Location"], headers={"If-Match": "*"})
    assert (await admin.client.delete(url, headers={"If-Match": "*"})).status_code == 204
    assert (await client.get(url)).status_code == 410
    assert [branch["id"] for branch in (await client.get(f"{API}/branches")).json()["items"]] == ["main"]


async def test_two_policies_never_speak_of_one_case(
    admin: Person, librarian: Person, client: httpx2.AsyncClient
) -> None:
    general = await admin.client.post(f"{API}/policies", json={"loan_days": 28, "fine_per_day_minor": 10})
    assert general.status_code == 201, general.text
    assert general.json()["fine_per_day"] == {"amount_minor": 10, "currency": "EUR"}
    again = await admin.client.post(f"{API}/policies", json={"loan_days": 14})
    assert (again.status_code, again.json()["code"]) == (409, "policy_exists")
    own = await librarian.client.post(f"{API}/policies", json={"branch": "main", "loan_days": 14})
    assert own.status_code == 201, own.text
    for body in ({"loan_days": 7}, {"branch": "other", "loan_days": 7}):
        refused = await librarian.client.post(f"{API}/policies", json=body)
        assert refused.status_code == 403, body
    clash = await admin.client.patch(own.headers["Location"], json={"branch": None}, headers={"If-Match": "*"})
    assert clash.json()["code"] == "policy_exists"
    assert len((await client.get(f"{API}/policies")).json()["items"]) == 2
    assert (await librarian.client.delete(own.headers["Location"], headers={"If-Match": "*"})).status_code == 204
    assert (await client.get(own.headers["Location"])).status_code == 404
