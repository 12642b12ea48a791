"""API keys over HTTP: shown once, hashed, narrowed by scopes, gone at once."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import select, update

from app.auth.models import ApiKey, Session
from app.core.config import Settings
from app.core.db import Database
from app.jobs import sessions
from tests.conftest import Person
from tests.integration.auth.conftest import PostBox, bearer

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"
BOOK = {"title": "Made by a program", "languages": ["eng"]}


async def _make(person: Person, *scopes: str) -> dict[str, str]:
    answer = await person.client.post(f"{AUTH}/api-keys", json={"name": "import", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


async def test_a_key_is_shown_once_and_stored_as_a_digest(librarian: Person, database: Database) -> None:
    made = await _make(librarian, "catalogue:edit")
    assert made["key"].startswith("lib_")
    listed = (await librarian.client.get(f"{AUTH}/api-keys")).json()["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    assert made["key"] not in str(listed)
    async with database.reading() as session:
        row = (await session.scalars(select(ApiKey))).one()
    assert made["key"] not in (row.digest, row.name)


async def test_a_key_does_what_its_scopes_say_and_no_more(librarian: Person, client: httpx2.AsyncClient) -> None:
    key = bearer((await _make(librarian, "catalogue:edit"))["key"])
    assert (await client.post("/api/v1/books", json=BOOK, headers=key)).status_code == 201
    refused = {
        "get": [f"{AUTH}/me", "/api/v1/copies"],
        "post": [f"{AUTH}/logout"],
        "delete": [f"{AUTH}/sessions"],
    }
    for method, paths in refused.items():
        for path in paths:
            assert (await client.request(method, path, headers=key)).status_code == 403, path
    made = await client.post(f"{AUTH}/api-keys", json={"name": "more", "scopes": ["account:read"]}, headers=key)
    assert (made.status_code, made.json()["code"]) == (403, "person_required")
    reading = bearer((await _make(librarian, "account:read"))["key"])
    assert (await client.get(f"{AUTH}/me", headers=reading)).status_code == 200
    changed = await client.patch(f"{AUTH}/me", json={"full_name": "By a key"}, headers=reading)
    assert (changed.status_code, changed.json()["code"]) == (403, "scope_too_narrow")


async def test_nobody_gives_a_key_more_than_he_has(reader: Person, librarian: Person) -> None:
    for person, scope in ((reader, "catalogue:edit"), (librarian, "branches:edit")):
        answer = await person.client.post(f"{AUTH}/api-keys", json={"name": "n", "scopes": [scope]})
        assert (answer.status_code, answer.json()["code"]) == (422, "scope_not_yours")
    unknown = await reader.client.post(f"{AUTH}/api-keys", json={"name": "n", "scopes": ["everything"]})
    assert unknown.json()["code"] == "validation_failed"


async def test_a_key_loses_what_its_owner_loses(
    librarian: Person, admin: Person, client: httpx2.AsyncClient, database: Database
) -> None:
    key = bearer((await _make(librarian, "catalogue:edit"))["key"])
    me = (await librarian.client.get(f"{AUTH}/me")).json()
    demoted = await admin.client.patch(f"/api/v1/users/{me['id']}", json={"role": "reader"}, headers={"If-Match": "*"})
    assert demoted.status_code == 200, demoted.text
    assert (await client.post("/api/v1/books", json=BOOK, headers=key)).status_code in {401, 403}


async def test_a_revoked_or_expired_key_stops_at_once(
    reader: Person, client: httpx2.AsyncClient, database: Database
) -> None:
    revoked, expired = await _make(reader, "account:read"), await _make(reader, "account:read")
    assert (await client.get(f"{AUTH}/me", headers=bearer(revoked["key"]))).status_code == 200
    used = {item["id"]: item["used_at"] for item in (await reader.client.get(f"{AUTH}/api-keys")).json()["items"]}
    assert used[revoked["id"]] is not None
    assert used[expired["id"]] is None
    assert (await reader.client.delete(f"{AUTH}/api-keys/{revoked['id']}")).status_code == 204
    assert (await reader.client.delete(f"{AUTH}/api-keys/{revoked['id']}")).status_code == 404
    async with database.transaction() as session:
        await session.execute(update(ApiKey).values(expires_at=datetime.now(UTC)))
    for key in (revoked, expired):
        answer = await client.get(f"{AUTH}/me", headers=bearer(key["key"]))
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_making_a_key_asks_for_a_fresh_proof(reader: Person, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Session).values(verified_at=datetime.now(UTC) - timedelta(hours=1)))
    wanted = {"name": "n", "scopes": ["account:read"]}
    refused = await reader.client.post(f"{AUTH}/api-keys", json=wanted)
    assert (refused.status_code, refused.json()["code"]) == (403, "confirmation_required")
    wrong = await reader.client.post(f"{AUTH}/confirm", json={"password": "not the password"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    assert (await reader.client.post(f"{AUTH}/confirm", json={"password": "correct horse battery"})).status_code == 204
    assert (await reader.client.post(f"{AUTH}/api-keys", json=wanted)).status_code == 201


async def test_an_account_has_a_bounded_number_of_keys(reader: Person) -> None:
    for _ in range(20):
        await _make(reader, "account:read")
    answer = await reader.client.post(f"{AUTH}/api-keys", json={"name": "n", "scopes": ["account:read"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_api_keys")


async def test_the_owner_of_a_key_is_told_once_two_weeks_before_it_ends(
    librarian: Person, reader: Person, database: Database, settings: Settings, post_box: PostBox
) -> None:
    made = await librarian.client.post(f"{AUTH}/api-keys", json={"name": "k", "scopes": ["account:read"], "days": 30})
    await reader.client.post(f"{AUTH}/api-keys", json={"name": "short", "scopes": ["account:read"], "days": 10})
    now = datetime.fromisoformat(made.json()["created_at"])
    told = [
        (await sessions.remind_of_keys(database, settings, now + timedelta(days=day)))["told"]
        for day in (9, 15, 17, 18)
    ]
    assert told == [0, 0, 1, 0]
    letter = await post_box.letter(librarian.email, "A key of yours ends soon")
    assert f"{settings.address}/me/security" in letter
    assert "A key of yours ends soon" not in post_box.subjects(reader.email)
