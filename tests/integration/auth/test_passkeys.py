"""Passkeys over HTTP, with an authenticator in software."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from app.auth.models import Passkey
from app.core.config import Settings
from app.core.db import Database
from tests.authenticator import Authenticator
from tests.conftest import PASSWORD, Person
from tests.integration.auth.conftest import bearer, sign_in

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"


@pytest.fixture
def phone(settings: Settings) -> Authenticator:
    return Authenticator(settings.address, "localhost")


async def _register(person: Person, phone: Authenticator) -> httpx2.Response:
    begun = (await person.client.post(f"{AUTH}/mfa/passkeys/options")).json()
    body = {"token": begun["token"], "name": "Phone", "credential": phone.create(begun["options"])}
    return await person.client.post(f"{AUTH}/mfa/passkeys", json=body)


async def _sign_in(
    client: httpx2.AsyncClient, phone: Authenticator, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> httpx2.Response:
    begun = (await client.post(f"{AUTH}/passkeys/options")).json()
    credential = phone.get(begun["options"])
    change(credential)
    return await client.post(f"{AUTH}/passkeys/login", json={"token": begun["token"], "credential": credential})


async def test_a_passkey_signs_in_without_a_password_and_is_the_second_factor(
    client: httpx2.AsyncClient, reader: Person, phone: Authenticator
) -> None:
    made = await _register(reader, phone)
    assert made.status_code == 201, made.text
    signed_in = await _sign_in(client, phone)
    assert signed_in.status_code == 200, signed_in.text
    headers = bearer(signed_in.json()["access_token"])
    assert (await client.get(f"{AUTH}/me", headers=headers)).json()["email"] == reader.email
    assert (await sign_in(client, reader.email, PASSWORD)).json()["mfa_required"] is True
    listed = (await reader.client.get(f"{AUTH}/mfa")).json()["passkeys"]
    assert [(item["name"], item["used_at"] is None) for item in listed] == [("Phone", False)]
    assert (await reader.client.delete(f"{AUTH}/mfa/passkeys/{made.json()['id']}")).status_code == 204
    assert (await reader.client.delete(f"{AUTH}/mfa/passkeys/{made.json()['id']}")).status_code == 404
    assert (await _sign_in(client, phone)).json()["code"] == "passkey_refused"


async def test_an_answer_works_once_and_for_its_own_challenge(
    client: httpx2.AsyncClient, reader: Person, phone: Authenticator
) -> None:
    await _register(reader, phone)
    begun = (await client.post(f"{AUTH}/passkeys/options")).json()
    other = (await client.post(f"{AUTH}/passkeys/options")).json()
    answer = phone.get(begun["options"])
    crossed = await client.post(f"{AUTH}/passkeys/login", json={"token": other["token"], "credential": answer})
    assert crossed.status_code == 422
    for expected in (200, 422):
        again = await client.post(f"{AUTH}/passkeys/login", json={"token": begun["token"], "credential": answer})
        assert again.status_code == expected


@pytest.mark.parametrize("flaw", ["origin", "domain", "key", "count", "unverified", "empty", "junk", "type"])
async def test_a_flawed_answer_is_refused(
    client: httpx2.AsyncClient, database: Database, reader: Person, phone: Authenticator, flaw: str
) -> None:
    await _register(reader, phone)
    spoiled: Callable[[dict[str, Any]], None] = lambda _: None  # noqa: E731  # one line each below
    if flaw == "origin":
        phone.origin = "https://evil.test"
    elif flaw == "domain":
        phone.domain = "evil.test"
    elif flaw == "key":
        phone.key = Authenticator("", "").key
    elif flaw == "unverified":
        phone.verifies_user = False
    elif flaw == "count":  # a clone has signed more often than this one
        async with database.transaction() as session:
            await session.execute(update(Passkey).values(sign_count=99))
    elif flaw == "empty":
        spoiled = lambda credential: credential["response"].clear()  # noqa: E731  # one flaw
    elif flaw == "junk":
        spoiled = lambda credential: credential["response"].update(authenticatorData="AAAA")  # noqa: E731  # one flaw
    else:
        spoiled = lambda credential: credential.update(response=[1, {"a": None}])  # noqa: E731  # one flaw
    refused = await _sign_in(client, phone, spoiled)
    assert (refused.status_code, refused.json()["code"]) == (422, "passkey_refused")


async def test_nobody_registers_with_somebody_elses_ceremony(
    reader: Person, other_reader: Person, phone: Authenticator
) -> None:
    begun = (await reader.client.post(f"{AUTH}/mfa/passkeys/options")).json()
    body = {"token": begun["token"], "name": "n", "credential": phone.create(begun["options"])}
    assert (await other_reader.client.post(f"{AUTH}/mfa/passkeys", json=body)).status_code == 422
    assert (await reader.client.post(f"{AUTH}/mfa/passkeys", json=body)).status_code == 201
    assert (await _register(other_reader, phone)).status_code == 422, "a passkey has one owner"
