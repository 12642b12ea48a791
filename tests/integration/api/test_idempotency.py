"""Idempotency-Key: once done is done once, whoever asks again."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import func, select, text, update

from app.books.models import Book
from app.core.db import Database
from app.idempotency.models import IdempotencyKey
from tests.conftest import Person

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"
KEY = {"Idempotency-Key": "3f1c"}


async def _books(database: Database) -> int:
    async with database.reading() as session:
        return await session.scalar(select(func.count(Book.id))) or 0


async def test_the_same_request_again_has_the_same_answer_and_no_second_effect(
    librarian: Person, database: Database
) -> None:
    first = await librarian.client.post(BOOKS, json={"title": "Dune"}, headers=KEY)
    again = await librarian.client.post(BOOKS, json={"title": "Dune"}, headers=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    for name in ("Location", "ETag", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert (again.headers["Idempotency-Replayed"], "Idempotency-Replayed" in first.headers) == ("true", False)
    assert await _books(database) == 1


async def test_ten_at_once_do_it_once(librarian: Person, database: Database) -> None:
    answers = await asyncio.gather(
        *(librarian.client.post(BOOKS, json={"title": "Dune"}, headers=KEY) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await _books(database) == 1


async def test_a_key_used_for_another_body_is_refused(librarian: Person, database: Database) -> None:
    await librarian.client.post(BOOKS, json={"title": "Dune"}, headers=KEY)
    other = await librarian.client.post(BOOKS, json={"title": "Emma"}, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await _books(database) == 1


async def test_a_refusal_is_judged_afresh(librarian: Person) -> None:
    book = (await librarian.client.post(BOOKS, json={"title": "Dune"})).json()
    url = f"{BOOKS}/{book['id']}/copies"
    taken = (await librarian.client.post(url, json={"barcode": "3001"})).headers["Location"]
    refused = await librarian.client.post(url, json={"barcode": "3001"}, headers=KEY)
    assert refused.status_code == 409
    await librarian.client.delete(taken, headers={"If-Match": "*"})
    accepted = await librarian.client.post(url, json={"barcode": "3001"}, headers=KEY)
    assert accepted.status_code == 201, "the refusal rolled its key back with everything else"


async def test_a_replay_comes_before_the_version_check(librarian: Person) -> None:
    book = (await librarian.client.post(BOOKS, json={"title": "Dune"})).json()
    headers = {**KEY, "If-Match": '"1"'}
    first = await librarian.client.patch(f"{BOOKS}/{book['id']}", json={"year": 1965}, headers=headers)
    again = await librarian.client.patch(f"{BOOKS}/{book['id']}", json={"year": 1965}, headers=headers)
    assert (first.status_code, again.status_code, again.headers["ETag"]) == (200, 200, '"2"')


async def test_keys_belong_to_one_person_one_address_and_one_day(
    librarian: Person, admin: Person, database: Database, client: httpx2.AsyncClient
) -> None:
    await librarian.client.post(BOOKS, json={"title": "Dune"}, headers=KEY)
    other = await admin.client.post(BOOKS, json={"title": "Emma"}, headers=KEY)
    assert other.status_code == 201, "another person's key"
    assert (await client.post(BOOKS, json={"title": "Emma"}, headers=KEY)).status_code == 401
    async with database.transaction() as session:
        await session.execute(update(IdempotencyKey).values(created_at=datetime.now(UTC) - timedelta(hours=25)))
    later = await librarian.client.post(BOOKS, json={"title": "Ubik"}, headers=KEY)
    assert (later.status_code, later.json()["title"]) == (201, "Ubik")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\t"])
async def test_a_key_that_is_none_is_refused(librarian: Person, key: str) -> None:
    answer = await librarian.client.post(BOOKS, json={"title": "Dune"}, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")


async def test_an_answer_is_given_again_by_a_commit_that_waits_like_the_first(
    librarian: Person, database: Database
) -> None:
    """A commit that was given up while it waited for a standby is seen, and lost with its server."""
    await librarian.client.post(BOOKS, json={"title": "Dune"}, headers=KEY)
    again = await librarian.client.post(BOOKS, json={"title": "Dune"}, headers=KEY)
    assert again.headers["Idempotency-Replayed"] == "true"
    if not database.is_sqlite:  # where nobody is waited for
        assert await ended(database) == "committed"


async def ended(database: Database) -> str | None:
    """How the last transaction ended that locked the only key."""
    said = text("SELECT pg_xact_status(xmax::text::xid8) FROM idempotency_keys WHERE xmax <> '0'::xid")
    async with database.reading() as session:
        return (await session.execute(said)).scalar_one_or_none()


async def test_so_does_a_form_s(librarian: Person, reader: Person, database: Database) -> None:
    book = (await librarian.client.post(BOOKS, json={"title": "Dune"})).json()
    await librarian.client.post(f"{BOOKS}/{book['id']}/copies", json={"barcode": "3001"})
    form = {"pickup_branch": "main", "idempotency_key": "f"}
    url, ours = f"/books/{book['id']}/bookings", {"Sec-Fetch-Site": "same-origin"}
    first = await reader.client.post(url, data=form, headers=ours)
    again = await reader.client.post(url, data=form, headers=ours)
    assert (first.status_code, again.status_code) == (303, 303)
    assert again.headers["Location"] == first.headers["Location"]
    if not database.is_sqlite:
        assert await ended(database) == "committed"
