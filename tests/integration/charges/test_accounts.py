"""Readers' accounts over HTTP: what is owed, and the desk's payments, waivers and refunds."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry, Event
from app.charges import service as charges
from app.charges.models import Entry, Reason
from app.core.db import Database
from app.core.middleware import Shell
from app.users import queries as user_queries
from app.users.models import Role
from tests.conftest import Person, sign_in_as

pytestmark = pytest.mark.anyio

API = "/api/v1"
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Debtor:
    """A reader who owes something; charges stand for what circulation will write."""

    person: Person
    database: Database
    id: UUID
    pseudonym: UUID

    @property
    def url(self) -> str:
        return f"{API}/users/{self.id}"

    async def owes(self, amount_minor: int, *, branch: str | None = "main") -> UUID:
        async with self.database.transaction() as session:
            entry = await charges.charge(
                session, subject=self.pseudonym, reason=Reason.LOST, amount_minor=amount_minor, loan_id=uuid4(),
                now=NOW, actor=None, branch=branch,
            )  # fmt: skip
        return entry.id

    async def found(self, charge_id: UUID) -> None:
        async with self.database.transaction() as session:
            await charges.reverse(session, entry_id=charge_id, now=NOW, actor=None)

    async def entries(self) -> list[Entry]:
        async with self.database.reading() as session:
            return list(await session.scalars(select(Entry).where(Entry.subject == self.pseudonym)))


@pytest.fixture
async def debtor(reader: Person, database: Database) -> Debtor:
    async with database.reading() as session:
        user = await user_queries.by_email(session, reader.email)
    assert user is not None
    return Debtor(reader, database, user.id, user.pseudonym)


@pytest.fixture
async def stranger(service: Shell, database: Database) -> AsyncIterator[Person]:
    """A librarian who works in no branch yet."""
    async with sign_in_as(service, database, Role.LIBRARIAN) as person:
        yield person


def refused(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_a_reader_sees_what_he_owes_and_how_it_came_about(debtor: Debtor, librarian: Person) -> None:
    charge_id = await debtor.owes(2_000)
    paid = await librarian.client.post(f"{debtor.url}/payments", json={"amount_minor": 500, "note": "cash"})
    assert paid.status_code == 201, paid.text
    own = (await debtor.person.client.get(f"{API}/auth/me/charges")).json()
    assert own["balance"] == {"amount_minor": 1_500, "currency": "EUR"}
    payment, charge = own["items"]
    assert (charge["id"], charge["kind"], charge["reason"], charge["branch"]) == (
        str(charge_id), "charge", "lost", "main"
    )  # fmt: skip
    assert (charge["amount"]["amount_minor"], charge["open"]["amount_minor"]) == (2_000, 1_500)
    assert (payment["kind"], payment["charge_id"], payment["note"]) == ("payment", str(charge_id), "cash")
    assert (payment["amount"]["amount_minor"], payment["open"]) == (500, None)
    assert paid.json()["balance"] == own["balance"]
    assert paid.json()["items"] == [payment]
    assert (await librarian.client.get(f"{debtor.url}/charges")).json() == own


async def test_an_account_without_entries_is_even(debtor: Debtor) -> None:
    assert (await debtor.person.client.get(f"{API}/auth/me/charges")).json() == {
        "balance": {"amount_minor": 0, "currency": "EUR"},
        "items": [],
        "next": None,
    }


async def test_a_long_account_comes_in_pages(debtor: Debtor) -> None:
    for amount in (100, 200, 300):
        await debtor.owes(amount)
    client, url = debtor.person.client, f"{API}/auth/me/charges?limit=2"
    first = await client.get(url)
    assert [item["amount"]["amount_minor"] for item in first.json()["items"]] == [300, 200]
    assert f"cursor={first.json()['next']}" in first.headers["Link"]
    second = await client.get(f"{url}&cursor={first.json()['next']}")
    assert [item["amount"]["amount_minor"] for item in second.json()["items"]] == [100]
    assert (second.json()["next"], "Link" in second.headers) == (None, False)
    assert second.json()["balance"]["amount_minor"] == 600, "of the whole account"
    assert refused(await client.get(f"{url}&cursor=nonsense")) == (400, "invalid_cursor")


async def test_money_settles_the_charge_that_is_named_or_the_oldest(debtor: Debtor, librarian: Person) -> None:
    old, young = await debtor.owes(300), await debtor.owes(500)
    pay = f"{debtor.url}/payments"
    named = await librarian.client.post(pay, json={"amount_minor": 200, "charge_id": str(young)})
    assert [item["charge_id"] for item in named.json()["items"]] == [str(young)]
    rest = await librarian.client.post(pay, json={"amount_minor": 600})
    assert [(item["charge_id"], item["amount"]["amount_minor"]) for item in rest.json()["items"]] == [
        (str(old), 300), (str(young), 300)
    ]  # fmt: skip
    assert rest.json()["balance"]["amount_minor"] == 0


async def test_more_than_is_owed_is_refused_and_nothing_is_written(debtor: Debtor, librarian: Person) -> None:
    charge_id = await debtor.owes(300)
    await debtor.owes(500)
    post = librarian.client.post
    assert refused(await post(f"{debtor.url}/payments", json={"amount_minor": 801})) == (409, "exceeds_balance")
    assert refused(await post(f"{debtor.url}/waivers", json={"amount_minor": 801})) == (409, "exceeds_balance")
    too_much = {"amount_minor": 301, "charge_id": str(charge_id)}
    assert refused(await post(f"{debtor.url}/payments", json=too_much)) == (409, "exceeds_charge")
    assert refused(await post(f"{debtor.url}/waivers", json=too_much)) == (409, "exceeds_charge")
    assert refused(await post(f"{debtor.url}/refunds", json={"amount_minor": 1})) == (409, "exceeds_credit")
    unknown = {"amount_minor": 1, "charge_id": str(uuid4())}
    assert refused(await post(f"{debtor.url}/payments", json=unknown)) == (422, "unknown_charge")
    assert len(await debtor.entries()) == 2
    async with debtor.database.reading() as session:
        assert list(await session.scalars(select(Event))) == []


async def test_a_payment_that_is_sent_again_is_taken_once(debtor: Debtor, librarian: Person) -> None:
    await debtor.owes(500)
    body, headers = {"amount_minor": 200}, {"Idempotency-Key": "till-1-receipt-77"}
    first = await librarian.client.post(f"{debtor.url}/payments", json=body, headers=headers)
    again = await librarian.client.post(f"{debtor.url}/payments", json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [entry.kind for entry in await debtor.entries()] == ["charge", "payment"]


async def test_a_credit_is_paid_out_once(debtor: Debtor, librarian: Person) -> None:
    charge_id = await debtor.owes(2_000)
    await librarian.client.post(f"{debtor.url}/payments", json={"amount_minor": 2_000})
    await debtor.found(charge_id)
    statement = (await debtor.person.client.get(f"{API}/auth/me/charges")).json()
    assert statement["balance"]["amount_minor"] == -2_000
    assert statement["items"][-1]["open"]["amount_minor"] == -2_000
    refunded = await librarian.client.post(f"{debtor.url}/refunds", json={"amount_minor": 2_000})
    assert refunded.status_code == 201, refunded.text
    assert refunded.json()["balance"]["amount_minor"] == 0
    again = await librarian.client.post(f"{debtor.url}/refunds", json={"amount_minor": 2_000})
    assert refused(again) == (409, "exceeds_credit")


async def test_a_librarian_waives_what_is_owed_to_his_branches(
    debtor: Debtor, librarian: Person, admin: Person
) -> None:
    await admin.client.post(f"{API}/branches", json={"id": "river", "name": "Riverside"})
    own, elsewhere, nowhere = [await debtor.owes(100, branch=branch) for branch in ("main", "river", None)]
    waive = f"{debtor.url}/waivers"
    for charge_id in (own, nowhere):
        body = {"amount_minor": 100, "charge_id": str(charge_id)}
        assert (await librarian.client.post(waive, json=body)).status_code == 201
    assert refused(await librarian.client.post(waive, json={"amount_minor": 100})) == (403, "not_your_branch")
    assert len(await debtor.entries()) == 5, "the refused waiver left no entry"
    body = {"amount_minor": 100, "charge_id": str(elsewhere)}
    assert (await admin.client.post(waive, json=body)).json()["balance"]["amount_minor"] == 0


async def test_a_librarian_without_a_branch_waives_nothing(debtor: Debtor, stranger: Person) -> None:
    await debtor.owes(100, branch=None)
    assert refused(await stranger.client.post(f"{debtor.url}/waivers", json={"amount_minor": 100})) == (
        403, "forbidden"
    )  # fmt: skip
    assert (await stranger.client.post(f"{debtor.url}/payments", json={"amount_minor": 100})).status_code == 201
    assert [entry.kind for entry in await debtor.entries()] == ["charge", "payment"]


async def test_nobody_handles_the_money_of_his_own_account(librarian: Person) -> None:
    me = (await librarian.client.get(f"{API}/auth/me")).json()["id"]
    for verb in ("payments", "waivers", "refunds"):
        answer = await librarian.client.post(f"{API}/users/{me}/{verb}", json={"amount_minor": 1})
        assert refused(answer) == (403, "own_account")


@pytest.mark.parametrize("verb", ["payments", "waivers", "refunds"])
async def test_money_is_for_staff_and_for_accounts_that_exist(
    debtor: Debtor, librarian: Person, client: httpx2.AsyncClient, verb: str
) -> None:
    await debtor.owes(100)
    body = {"amount_minor": 100}
    assert refused(await client.post(f"{debtor.url}/{verb}", json=body)) == (401, "not_signed_in")
    assert refused(await debtor.person.client.post(f"{debtor.url}/{verb}", json=body)) == (403, "forbidden")
    nobody = await librarian.client.post(f"{API}/users/{uuid4()}/{verb}", json=body)
    assert refused(nobody) == (404, "user_not_found")
    assert len(await debtor.entries()) == 1


async def test_an_account_is_shown_to_its_owner_and_to_staff_only(
    debtor: Debtor, librarian: Person, client: httpx2.AsyncClient
) -> None:
    await debtor.owes(100)
    assert refused(await client.get(f"{API}/auth/me/charges")) == (401, "not_signed_in")
    assert refused(await client.get(f"{debtor.url}/charges")) == (401, "not_signed_in")
    assert refused(await debtor.person.client.get(f"{debtor.url}/charges")) == (403, "forbidden")
    assert refused(await librarian.client.get(f"{API}/users/{uuid4()}/charges")) == (404, "user_not_found")
    assert (await librarian.client.get(f"{API}/auth/me/charges")).json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"amount_minor": 0}',
        b'{"amount_minor": -5}',
        b'{"amount_minor": NaN}',
        b'{"amount_minor": Infinity}',
        b'{"amount_minor": 1e3}',
        b'{"amount_minor": 5.0}',
        b'{"amount_minor": "5"}',
        b'{"amount_minor": true}',
        b'{"amount_minor": null}',
        b'{"amount_minor": 100000001}',
        b'{"amount_minor": 99999999999999999999999}',
        b'{"amount_minor": 5, "charge_id": 5}',
        b'{"amount_minor": 5, "charge_id": "first"}',
        b'{"amount_minor": 5, "note": "two\\nlines"}',
        b'{"amount_minor": 5, "currency": "USD"}',
    ],
)
async def test_money_that_is_none_is_refused(debtor: Debtor, librarian: Person, body: bytes) -> None:
    await debtor.owes(100)
    headers = {"Content-Type": "application/json"}
    for verb in ("payments", "waivers", "refunds"):
        answer = await librarian.client.post(f"{debtor.url}/{verb}", content=body, headers=headers)
        assert refused(answer) == (422, "validation_failed")
    assert len(await debtor.entries()) == 1


async def test_each_settlement_leaves_one_event_and_one_audit_entry(debtor: Debtor, librarian: Person) -> None:
    charge_id = await debtor.owes(300)
    await debtor.owes(200)
    post = librarian.client.post
    await post(f"{debtor.url}/payments", json={"amount_minor": 400, "note": "cash"})
    await post(f"{debtor.url}/waivers", json={"amount_minor": 100, "note": "moved away"})
    await debtor.found(charge_id)
    await post(f"{debtor.url}/refunds", json={"amount_minor": 300})
    async with debtor.database.reading() as session:
        user = await user_queries.by_email(session, librarian.email)
        assert user is not None
        events = list(await session.scalars(select(Event).order_by(Event.id)))
        entries = {entry.id: entry for entry in await session.scalars(select(AuditEntry))}
    assert [(event.kind, event.data) for event in events] == [
        ("charge_paid", {"amount_minor": 400, "currency": "EUR"}),
        ("charge_waived", {"amount_minor": 100, "currency": "EUR"}),
        ("charge_refunded", {"amount_minor": 300, "currency": "EUR"}),
    ]
    audited: list[Any] = [entries.pop(event.change_id) for event in events]
    assert not entries, "one each"
    assert [entry.reason for entry in audited] == ["cash", "moved away", None]
    assert {(entry.actor, entry.actor_role, entry.subject) for entry in audited} == {
        (user.pseudonym, "librarian", debtor.pseudonym)
    }
    assert {row.actor for row in await debtor.entries() if row.kind in {"payment", "waiver", "refund"}} == {
        user.pseudonym
    }


async def test_a_look_at_an_account_is_written_down(debtor: Debtor, librarian: Person) -> None:
    await librarian.client.get(f"{debtor.url}/charges")
    await debtor.person.client.get(f"{API}/auth/me/charges")
    async with debtor.database.reading() as session:
        (entry,) = await session.scalars(select(AuditEntry))
    assert (entry.action, entry.subject, entry.data) == ("view", debtor.pseudonym, {"what": "charges"})
