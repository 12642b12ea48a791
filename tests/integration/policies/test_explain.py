"""Policies that decide: the rulebook as it is stored, and POST /policies/explain."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert, select, text

from app.audit.models import AuditEntry
from app.core.db import Database
from app.policies import service as policies
from app.policies.models import Policy
from app.policies.rules import BUILT_IN, Terms
from tests.conftest import Person

pytestmark = pytest.mark.anyio

API = "/api/v1"
EXPLAIN = f"{API}/policies/explain"
CASE = {"category": "adult", "item_type": "dvd", "branch": "main"}


async def _add(admin: Person, **body: Any) -> int:
    answer = await admin.client.post(f"{API}/policies", json=body)
    assert answer.status_code == 201, answer.text
    number: int = answer.json()["id"]
    return number


async def test_the_rulebook_holds_every_term_of_every_policy(admin: Person, database: Database) -> None:
    terms = {
        "loan_days": 14, "renewals": 1, "loan_limit": 5, "booking_limit": 3, "pickup_days": 4,
        "fine_per_day_minor": 25, "fine_cap_minor": 700, "lost_fee_minor": 900, "minimum_loan_days": 10,
    }  # fmt: skip
    special = await _add(admin, category="adult", item_type="dvd", **terms)
    general = await _add(admin)
    async with database.reading() as session:
        rules = await policies.rulebook(session)
    assert rules.terms(**CASE) == Terms(policy_id=special, **terms)
    other = rules.terms(category="child", item_type="dvd", branch="main")
    assert other == Terms(policy_id=general, **{name: getattr(BUILT_IN, name) for name in terms})


async def test_the_new_terms_are_answered_and_can_be_changed(admin: Person) -> None:
    number = await _add(admin, lost_fee_minor=900, minimum_loan_days=10)
    url, headers = f"{API}/policies/{number}", {"If-Match": "*"}
    shown = (await admin.client.get(url)).json()
    assert (shown["lost_fee"], shown["minimum_loan_days"]) == ({"amount_minor": 900, "currency": "EUR"}, 10)
    changed = await admin.client.patch(url, json={"lost_fee_minor": 0, "minimum_loan_days": 3}, headers=headers)
    assert (changed.json()["lost_fee"]["amount_minor"], changed.json()["minimum_loan_days"]) == (0, 3)
    for wrong in ({"lost_fee_minor": -1}, {"minimum_loan_days": 3_651}, {"minimum_loan_days": "7"}):
        assert (await admin.client.patch(url, json=wrong, headers=headers)).status_code == 422


async def test_the_database_refuses_terms_below_nothing(database: Database) -> None:
    for name in ("lost_fee_minor", "minimum_loan_days", "loan_days"):
        with pytest.raises(Exception, match="ck_policies"):
            async with database.transaction() as session:
                await session.execute(insert(Policy).values(_row("x") | {name: -1}))


async def test_release_before_this_one_can_still_write_policies_and_branches(database: Database) -> None:
    """The schema is expanded first: the old code, which names no new column, runs against it."""
    row = _row("old")
    columns = [name for name in row if name not in {"lost_fee_minor", "minimum_loan_days", "created_at"}]
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    async with database.transaction() as session:
        await session.execute(
            text(f"INSERT INTO policies ({names}, created_at) VALUES ({values}, CURRENT_TIMESTAMP)"), row
        )
        await session.execute(
            text("INSERT INTO branches (id, version, name, created_at) VALUES ('old', 1, 'Old', CURRENT_TIMESTAMP)")
        )
    async with database.reading() as session:
        policy = (await session.scalars(select(Policy))).one()
        assert (policy.lost_fee_minor, policy.minimum_loan_days) == (0, 7)


async def test_an_explanation_says_which_policy_decides_and_why(admin: Person, reader: Person) -> None:
    general = await _add(admin, loan_days=28)
    special = await _add(admin, category="adult", loan_days=0, lost_fee_minor=500)
    other = await _add(admin, category="child", item_type="dvd")
    answer = await reader.client.post(EXPLAIN, json=CASE)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert {name: told[name] for name in CASE} == CASE
    assert (told["may_borrow"], told["terms"]["policy_id"], told["terms"]["loan_days"]) == (False, special, 0)
    assert told["terms"]["lost_fee"] == {"amount_minor": 500, "currency": "EUR"}
    assert [(each["policy_id"], each["outcome"]) for each in told["candidates"]] == [
        (special, "decides"), (general, "outranked"), (None, "outranked"), (other, "other_case")
    ]  # fmt: skip
    assert told["candidates"][0]["because"] == "It matches by category; no policy that matches counts more."
    assert (told["candidates"][3]["category"], told["candidates"][3]["branch"]) == ("child", None)
    assert told["omitted"] == 0


async def test_without_policies_the_built_in_terms_are_explained(reader: Person) -> None:
    told = (await reader.client.post(EXPLAIN, json=CASE)).json()
    assert (told["may_borrow"], told["terms"]["policy_id"], told["terms"]["loan_days"]) == (True, None, 28)
    assert [each["outcome"] for each in told["candidates"]] == ["decides"]


async def test_staff_ask_by_a_card_and_a_barcode(
    admin: Person, librarian: Person, reader: Person, database: Database
) -> None:
    special = await _add(admin, category="adult", item_type="dvd", branch="main", loan_days=7)
    book = (await librarian.client.post(f"{API}/books", json={"title": "Dune"})).json()["id"]
    await librarian.client.post(f"{API}/books/{book}/copies", json={"barcode": "3001", "item_type": "dvd"})
    scanned = {"card_number": reader.card_number, "copy_barcode": "3001"}
    told = (await librarian.client.post(EXPLAIN, json=scanned)).json()
    assert {name: told[name] for name in CASE} == CASE
    assert told["terms"]["policy_id"] == special
    async with database.reading() as session:
        (entry,) = await session.scalars(select(AuditEntry))
    assert (entry.action, entry.data) == ("view", {"what": "terms"})
    half = {"category": "adult", "copy_barcode": "3001"}
    assert (await librarian.client.post(EXPLAIN, json=half)).json()["terms"]["policy_id"] == special
    for body in (scanned, half, {**CASE, "category": None, "card_number": reader.card_number}):
        refused = await reader.client.post(EXPLAIN, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_a_case_of_unknown_things_is_refused(librarian: Person, client: httpx2.AsyncClient) -> None:
    async def code(**body: str) -> str:
        answer = await librarian.client.post(EXPLAIN, json=body)
        return f"{answer.status_code} {answer.json()['code']}"

    assert await code(category="adult", item_type="dvd", branch="nowhere") == "422 unknown_branch"
    assert await code(category="adult", copy_barcode="404") == "404 copy_not_found"
    assert await code(card_number="404", item_type="dvd", branch="main") == "404 user_not_found"
    assert (await client.post(EXPLAIN, json=CASE)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"category": "adult"},
        {"category": "adult", "item_type": "dvd"},
        {"category": "adult", "branch": "main"},
        {"item_type": "dvd", "branch": "main"},
        {**CASE, "card_number": "1"},
        {**CASE, "copy_barcode": "1"},
        {"category": "adult", "branch": "main", "copy_barcode": "1"},
        {"category": "Adult", "item_type": "dvd", "branch": "main"},
        {"card_number": "a b", "copy_barcode": "1"},
        {"card_number": "", "copy_barcode": "1"},
        {**CASE, "colour": "red"},
    ],
)
async def test_a_question_that_is_none_is_refused(librarian: Person, body: dict[str, Any]) -> None:
    answer = await librarian.client.post(EXPLAIN, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


async def test_a_library_has_two_thousand_policies_at_most(
    admin: Person, librarian: Person, database: Database
) -> None:
    async with database.transaction() as session:
        await session.execute(insert(Policy), [_row(f"c{number}") for number in range(1_999)])
    await _add(admin, loan_days=21)
    refused = await librarian.client.post(f"{API}/policies", json={"branch": "main"})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_policies")
    told = (await librarian.client.post(EXPLAIN, json={**CASE, "category": "c7"})).json()
    assert [each["category"] for each in told["candidates"][:3]] == ["c7", None, None]
    assert (len(told["candidates"]), told["omitted"]) == (100, 1_901)


def _row(category: str) -> dict[str, Any]:
    return {
        "version": 1, "category": category, "loan_days": 14, "renewals": 1, "loan_limit": 5, "booking_limit": 3,
        "pickup_days": 4, "fine_per_day_minor": 0, "fine_cap_minor": 0, "lost_fee_minor": 0, "minimum_loan_days": 7,
        "case_key": f"{category}||", "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
