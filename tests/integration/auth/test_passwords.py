"""Passwords and addresses over HTTP: changing, forgetting, confirming by mail; the same answer for everybody."""

from datetime import UTC, datetime

import httpx2
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import func, select, update

from app.auth.models import MailToken
from app.core.config import Settings
from app.core.db import Database
from app.main import create_app
from app.users import queries as user_queries
from app.users.models import User
from tests.conftest import PASSWORD, Person, close
from tests.integration.auth.conftest import PostBox, bearer, sign_in

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"
NEW = "seven quiet otters"


async def test_a_changed_password_signs_out_everybody_else(
    client: httpx2.AsyncClient, reader: Person, post_box: PostBox
) -> None:
    elsewhere = (await sign_in(client, reader.email, PASSWORD)).json()
    key = (await reader.client.post(f"{AUTH}/api-keys", json={"name": "n", "scopes": ["account:read"]})).json()["key"]
    wrong = await reader.client.post(f"{AUTH}/password", json={"current_password": NEW, "new_password": NEW})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    changed = await reader.client.post(f"{AUTH}/password", json={"current_password": PASSWORD, "new_password": NEW})
    assert changed.status_code == 204
    for token in (elsewhere["access_token"], key):
        assert (await client.get(f"{AUTH}/me", headers=bearer(token))).status_code == 401
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 200
    assert (await sign_in(client, reader.email, PASSWORD)).status_code == 401
    assert (await sign_in(client, reader.email, NEW)).status_code == 200
    assert "all other devices were signed out" in await post_box.letter(reader.email, "Your password was changed")


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("Password123", "password_too_common"),
        ("QWERTYUIOP", "password_too_common"),
        ("reader-reader-1", "password_too_personal"),
        ("library 2026!", "password_too_personal"),
        ("short", "validation_failed"),
        ("x" * 129, "validation_failed"),
    ],
)
async def test_a_password_that_is_easily_guessed_is_refused(
    client: httpx2.AsyncClient, reader: Person, password: str, code: str
) -> None:
    changed = await reader.client.post(
        f"{AUTH}/password", json={"current_password": PASSWORD, "new_password": password}
    )
    assert (changed.status_code, changed.json()["code"]) == (422, code)
    registered = await client.post(
        f"{AUTH}/register", json={"email": "reader2@library.test", "password": password, "full_name": "Reader"}
    )
    assert (registered.status_code, registered.json()["code"]) == (422, code)


async def test_a_forgotten_password_is_replaced_by_mail_once(
    client: httpx2.AsyncClient, reader: Person, post_box: PostBox
) -> None:
    for email in (reader.email, "nobody@library.test"):
        answer = await client.post(f"{AUTH}/forgot", json={"email": email})
        assert (answer.status_code, answer.content) == (202, b'{"status":"mail_sent"}')
    token = await post_box.token(reader.email, "A new password")
    easy = await client.post(f"{AUTH}/reset", json={"token": token, "password": "password123"})
    assert easy.json()["code"] == "password_too_common"
    assert (await client.post(f"{AUTH}/reset", json={"token": token, "password": NEW})).status_code == 204
    again = await client.post(f"{AUTH}/reset", json={"token": token, "password": NEW})
    assert (again.status_code, again.json()["code"]) == (400, "invalid_mail_token")
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 401
    assert (await sign_in(client, reader.email, NEW)).status_code == 200
    assert post_box.subjects("nobody@library.test") == []


async def test_links_in_mails_come_from_the_settings_never_from_the_host_header(
    client: httpx2.AsyncClient, settings: Settings, reader: Person, post_box: PostBox
) -> None:
    headers = {"X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test", "Host": "127.0.0.1"}
    await client.post(f"{AUTH}/forgot", json={"email": reader.email}, headers=headers)
    letter = await post_box.letter(reader.email, "A new password")
    assert f"{settings.address}/reset#token=" in letter
    assert "evil.test" not in letter


async def test_a_mailed_token_expires_and_fits_one_purpose_only(
    client: httpx2.AsyncClient, database: Database, reader: Person, post_box: PostBox
) -> None:
    await client.post(f"{AUTH}/forgot", json={"email": reader.email})
    token = await post_box.token(reader.email, "A new password")
    assert (await client.post(f"{AUTH}/verify", json={"token": token})).status_code == 400
    await reader.client.post(f"{AUTH}/verify/mail")
    address = await post_box.token(reader.email, "Confirm your address")
    async with database.transaction() as session:
        await session.execute(update(MailToken).values(expires_at=datetime.now(UTC)))
    assert (await client.post(f"{AUTH}/reset", json={"token": token, "password": NEW})).status_code == 400
    assert (await client.post(f"{AUTH}/verify", json={"token": address})).status_code == 400


async def test_an_unknown_address_costs_the_same_write(client: httpx2.AsyncClient, database: Database) -> None:
    await client.post(f"{AUTH}/forgot", json={"email": "nobody@library.test"})
    async with database.reading() as session:
        row = (await session.scalars(select(MailToken))).one()
    assert (row.user_id, row.payload) == (None, None)


async def test_an_address_is_confirmed_and_changed_by_mail(
    client: httpx2.AsyncClient, database: Database, reader: Person, other_reader: Person, post_box: PostBox
) -> None:
    assert (await reader.client.post(f"{AUTH}/verify/mail")).status_code == 202
    token = await post_box.token(reader.email, "Confirm your address")
    assert (await client.post(f"{AUTH}/verify", json={"token": token})).status_code == 204
    async with database.reading() as session:
        user = await user_queries.by_email(session, reader.email)
        assert user is not None
        assert user.email_verified_at is not None
    body = {"email": "New.Address@library.test", "password": PASSWORD}
    assert (await reader.client.post(f"{AUTH}/email", json=body | {"password": "wrong"})).status_code == 403
    assert (await reader.client.post(f"{AUTH}/email", json=body)).status_code == 202
    await post_box.letter(reader.email, "Your address is being changed")
    token = await post_box.token("new.address@library.test", "Confirm your address")
    assert (await reader.client.get(f"{AUTH}/me")).json()["email"] == reader.email
    assert (await client.post(f"{AUTH}/verify", json={"token": token})).status_code == 204
    assert (await reader.client.get(f"{AUTH}/me")).json()["email"] == "new.address@library.test"
    # A taken address is not told apart, and its owner gets no mail.
    taken = await reader.client.post(f"{AUTH}/email", json={"email": other_reader.email, "password": PASSWORD})
    assert taken.status_code == 202
    assert post_box.subjects(other_reader.email) == []


async def test_a_verifying_library_answers_the_same_to_everybody(
    settings: Settings, database: Database, reader: Person, post_box: PostBox
) -> None:
    shell = create_app(settings.model_copy(update={"registration": "verified"}))
    transport = httpx2.ASGITransport(app=shell)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as visitor:
        answers = [
            await visitor.post(
                f"{AUTH}/register", json={"email": email, "password": "nine tall herons", "full_name": "New Reader"}
            )
            for email in (reader.email, "new@library.test")
        ]
        assert {(answer.status_code, answer.text) for answer in answers} == {(202, '{"status":"mail_sent"}')}
        await post_box.letter(reader.email, "You have an account already")
        token = await post_box.token("new@library.test", "Confirm your address")
        async with database.reading() as session:
            assert await session.scalar(select(func.count()).select_from(User)) == 1
            decoy, real = sorted(
                await session.scalars(select(MailToken)), key=lambda row: "email" in (row.payload or {})
            )
            assert "decoy" in (decoy.payload or {})
            assert len(str(real.payload)) - len(str(decoy.payload)) < 40
        assert (await sign_in(visitor, "new@library.test", "nine tall herons")).status_code == 401
        assert (await visitor.post(f"{AUTH}/verify", json={"token": token})).status_code == 204
        assert (await visitor.post(f"{AUTH}/verify", json={"token": token})).status_code == 400
        assert (await sign_in(visitor, "new@library.test", "nine tall herons")).status_code == 200
    await close(shell)


async def test_a_disabled_account_is_told_apart_from_no_other(
    client: httpx2.AsyncClient, database: Database, reader: Person, post_box: PostBox
) -> None:
    async with database.transaction() as session:
        await session.execute(update(User).values(disabled_at=datetime.now(UTC)))
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 401
    refused = await sign_in(client, reader.email, PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (401, "wrong_credentials")
    await client.post(f"{AUTH}/forgot", json={"email": reader.email})
    assert post_box.subjects(reader.email) == []


async def test_a_weaker_hash_is_replaced_at_the_next_sign_in(
    client: httpx2.AsyncClient, database: Database, reader: Person
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    async with database.transaction() as session:
        await session.execute(update(User).values(password_hash=weak))
    assert (await sign_in(client, reader.email, PASSWORD)).status_code == 200
    async with database.reading() as session:
        stored = await session.scalar(select(User.password_hash))
    assert stored != weak
    assert "m=19456,t=2,p=1" in (stored or "")


async def test_a_canary_password_and_token_stand_in_no_table(
    client: httpx2.AsyncClient, database: Database, settings: Settings, reader: Person
) -> None:
    """Of every secret only a digest or hash is kept (S9)."""
    canary = "canary-7c2f-password"
    await client.post(f"{AUTH}/register", json={"email": "c@library.test", "password": canary, "full_name": "C"})
    tokens = (await sign_in(client, "c@library.test", canary)).json()
    secret = str((settings.secret_key or SecretStr("")).get_secret_value())
    async with database.reading() as session:
        for model in (User, MailToken):
            for row in await session.scalars(select(model)):
                text = str(vars(row))
                assert canary not in text
                assert secret not in text
                assert tokens["refresh_token"].partition(".")[2] not in text
