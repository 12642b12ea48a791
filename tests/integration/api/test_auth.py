"""Signing in over HTTP."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import update

from app.auth.models import Session
from app.core.config import Settings
from app.core.db import Database
from app.core.security import AUDIENCE, TokenSigner
from app.users import queries as user_queries
from app.users import service as users
from app.users.models import Role
from tests.conftest import PASSWORD, SECRET, Person

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"
NEW = {"email": "New.Reader@Library.test", "password": PASSWORD, "full_name": "New Reader"}


async def test_a_new_reader_signs_in_at_once(client: httpx2.AsyncClient) -> None:
    registered = await client.post(f"{AUTH}/register", json=NEW)
    assert registered.status_code == 201, registered.text
    user = registered.json()
    assert (user["email"], user["role"], len(user["card_number"])) == ("new.reader@library.test", "reader", 13)
    assert "password" not in registered.text
    tokens = await client.post(f"{AUTH}/login", json={"email": "NEW.reader@library.TEST ", "password": PASSWORD})
    assert (tokens.json()["token_type"], tokens.json()["expires_in"]) == ("bearer", 900)
    me = await client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {tokens.json()['access_token']}"})
    assert (me.status_code, me.json()) == (200, user)
    assert me.headers["Cache-Control"] == "no-store"


async def test_an_address_is_taken_once_in_any_case(client: httpx2.AsyncClient) -> None:
    await client.post(f"{AUTH}/register", json=NEW)
    again = await client.post(f"{AUTH}/register", json=NEW | {"email": "new.reader@library.test"})
    assert (again.status_code, again.json()["code"]) == (409, "email_taken")


async def test_nobody_registers_himself_a_role(client: httpx2.AsyncClient) -> None:
    refused = await client.post(f"{AUTH}/register", json=NEW | {"role": "admin"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/role")


async def test_a_wrong_password_and_an_unknown_address_look_the_same(
    reader: Person, client: httpx2.AsyncClient
) -> None:
    wrong = await client.post(f"{AUTH}/login", json={"email": reader.email, "password": "wrong horse battery"})
    unknown = await client.post(f"{AUTH}/login", json={"email": "nobody@library.test", "password": PASSWORD})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_credentials")
    assert {**wrong.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


async def test_the_documentation_page_signs_in_with_a_form(reader: Person, client: httpx2.AsyncClient) -> None:
    form = {"username": reader.email, "password": PASSWORD, "grant_type": "password"}
    answer = await client.post(f"{AUTH}/token", data=form)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "bearer")


async def test_a_refresh_token_works_once(reader: Person, client: httpx2.AsyncClient) -> None:
    tokens = (await client.post(f"{AUTH}/login", json={"email": reader.email, "password": PASSWORD})).json()
    renewed = await client.post(f"{AUTH}/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert renewed.status_code == 200
    assert renewed.json()["refresh_token"] != tokens["refresh_token"]
    again = await client.post(f"{AUTH}/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert (again.status_code, again.json()["code"]) == (409, "already_refreshed")


async def test_signing_out_ends_both_tokens_at_once(client: httpx2.AsyncClient, reader: Person) -> None:
    tokens = (await client.post(f"{AUTH}/login", json={"email": reader.email, "password": PASSWORD})).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await client.post(f"{AUTH}/logout", headers=bearer)).status_code == 204
    assert (await client.get(f"{AUTH}/me", headers=bearer)).status_code == 401
    assert (await client.post(f"{AUTH}/refresh", json={"refresh_token": tokens["refresh_token"]})).status_code == 401
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 200, "other sessions go on"


async def test_a_session_that_ran_out_signs_nobody_in(reader: Person, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Session).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 401


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    usual = {"iss": "http://localhost:8000", "aud": AUDIENCE, "iat": now, "exp": now + 600}
    return usual | {"sub": str(uuid4()), "sid": str(uuid4())} | changes


@pytest.mark.parametrize(
    ("header", "claims", "key"),
    [
        ({}, {}, "another secret of enough length, 0123456789"),
        ({"kid": "other"}, {}, SECRET),
        ({"typ": "JWT"}, {}, SECRET),
        ({}, {"iss": "http://elsewhere.test"}, SECRET),
        ({}, {"aud": "other"}, SECRET),
        ({}, {"exp": 1}, SECRET),
        ({}, {"exp": "never"}, SECRET),
        ({}, {"iat": 9_999_999_999}, SECRET),
        ({}, {"sub": 5}, SECRET),
        ({}, {"sub": None}, SECRET),
        ({}, {}, SECRET),
    ],
)
async def test_a_forged_token_is_refused(
    client: httpx2.AsyncClient, settings: Settings, header: dict[str, str], claims: dict[str, Any], key: str
) -> None:
    genuine = TokenSigner(settings).sign(user_id=uuid4(), session_id=uuid4(), now=datetime.now(UTC))
    head = json.loads(base64.urlsafe_b64decode(genuine.split(".")[0] + "=="))
    forged = jwt.encode(head | header, _claims(**claims), OctKey.import_key(key))
    answer = await client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {forged}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_a_token_without_signature_is_refused(client: httpx2.AsyncClient) -> None:
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "at+jwt"}, _claims())]
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
    answer = await client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_only_the_canonical_spelling_of_a_token_signs_in(reader: Person, client: httpx2.AsyncClient) -> None:
    token = reader.client.headers["Authorization"].removeprefix("Bearer ")
    for spelling in (f"{token}=", f"{token}A", f"{token[:-1]}", token.replace(".", "=.", 1), f" {token} x"):
        answer = await client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {spelling}"})
        assert answer.status_code == 401, spelling


async def test_a_reader_changes_his_own_name_and_not_his_role(reader: Person) -> None:
    changed = await reader.client.patch(f"{AUTH}/me", json={"full_name": "O'Brien, Zoë", "home_branch": "main"})
    assert (changed.status_code, changed.json()["full_name"]) == (200, "O'Brien, Zoë")
    assert (changed.json()["home_branch"], changed.headers["ETag"]) == ("main", '"2"')
    for field in ("role", "email", "card_number", "id", "branches"):
        refused = await reader.client.patch(f"{AUTH}/me", json={field: "admin"})
        assert refused.status_code == 422, field
    stale = await reader.client.patch(f"{AUTH}/me", json={"locale": "ru"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    nowhere = await reader.client.patch(f"{AUTH}/me", json={"home_branch": "nowhere"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (422, "unknown_branch")


async def test_a_role_that_was_taken_away_counts_at_once(librarian: Person, database: Database) -> None:
    async with database.transaction() as session:
        user = await user_queries.by_email(session, librarian.email)
        assert user
        await users.change(session, user_id=user.id, changes={"role": Role.READER, "branches": []}, if_match=None)
    assert (await librarian.client.post("/api/v1/books", json={"title": "Dune"})).status_code == 403
