"""Sessions over HTTP: refresh tokens in families, logout, the list of sessions, key rotation, cookies."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from app.auth.models import Session
from app.auth.service import accounts, sessions
from app.core.config import Settings
from app.core.db import Database
from app.main import create_app
from app.users import queries as user_queries
from app.users.models import Role
from tests.conftest import PASSWORD, SECRET, Person, close
from tests.integration.auth.conftest import PostBox, bearer, sign_in

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"
NEW_SECRET = "7Gd-another-key-for-tests-only-Hq2x9WvLbTz"


async def _tokens(client: httpx2.AsyncClient, reader: Person) -> dict[str, str]:
    answer = await sign_in(client, reader.email, PASSWORD)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


async def _refresh(client: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await client.post(f"{AUTH}/refresh", json={"refresh_token": token})


async def _age(database: Database, **values: datetime) -> None:
    async with database.transaction() as session:
        await session.execute(update(Session).values(**values))


async def test_of_a_hundred_parallel_refreshes_one_wins_and_nobody_is_signed_out(
    client: httpx2.AsyncClient, reader: Person
) -> None:
    tokens = await _tokens(client, reader)
    answers = await asyncio.gather(*(_refresh(client, tokens["refresh_token"]) for _ in range(100)))
    # On a busy machine some don't get a connection in time (503); they ask again, as clients do.
    answers = [
        await _refresh(client, tokens["refresh_token"]) if answer.status_code == 503 else answer for answer in answers
    ]
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {(answer.status_code, answer.json()["code"]) for answer in answers if answer not in won} == {
        (409, "already_refreshed")
    }
    pair = won[0].json()
    assert (await client.get(f"{AUTH}/me", headers=bearer(pair["access_token"]))).status_code == 200
    assert (await _refresh(client, pair["refresh_token"])).status_code == 200


async def test_a_spent_token_shown_later_ends_the_family_and_tells_the_user(
    client: httpx2.AsyncClient, database: Database, reader: Person, post_box: PostBox
) -> None:
    tokens = await _tokens(client, reader)
    successor = (await _refresh(client, tokens["refresh_token"])).json()
    await _age(database, refreshed_at=datetime.now(UTC) - sessions.REUSE_GRACE - timedelta(seconds=1))
    reused = await _refresh(client, tokens["refresh_token"])
    assert (reused.status_code, reused.json()["code"]) == (401, "invalid_refresh_token")
    assert (await _refresh(client, successor["refresh_token"])).status_code == 401
    assert (await client.get(f"{AUTH}/me", headers=bearer(successor["access_token"]))).status_code == 401
    assert "used from two places" in await post_box.letter(reader.email, "You were signed out for your safety")
    # His other sessions go on.
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 200


async def test_a_token_older_than_the_last_ends_the_family_even_within_the_grace(
    client: httpx2.AsyncClient, reader: Person
) -> None:
    first = await _tokens(client, reader)
    second = (await _refresh(client, first["refresh_token"])).json()
    third = (await _refresh(client, second["refresh_token"])).json()
    assert (await _refresh(client, first["refresh_token"])).status_code == 401
    assert (await _refresh(client, third["refresh_token"])).status_code == 401


async def test_what_is_no_token_of_a_family_ends_nothing(client: httpx2.AsyncClient, reader: Person) -> None:
    tokens = await _tokens(client, reader)
    family, _, secret = tokens["refresh_token"].partition(".")
    for forged in (secret + "." + family, family[::-1] + "." + secret, "x" * 86, family.swapcase() + "." + secret):
        assert (await _refresh(client, forged)).status_code == 401
    assert (await _refresh(client, tokens["refresh_token"])).status_code == 200


async def test_logout_is_gone_at_once(client: httpx2.AsyncClient, reader: Person) -> None:
    tokens = await _tokens(client, reader)
    headers = bearer(tokens["access_token"])
    assert (await client.post(f"{AUTH}/logout", headers=headers)).status_code == 204
    assert (await client.get(f"{AUTH}/me", headers=headers)).status_code == 401
    assert (await _refresh(client, tokens["refresh_token"])).status_code == 401


async def test_one_sees_and_ends_ones_own_sessions_only(
    client: httpx2.AsyncClient, reader: Person, other_reader: Person
) -> None:
    await client.post(
        f"{AUTH}/login",
        json={"email": reader.email, "password": PASSWORD},
        headers={b"User-Agent": b"Phone/1 \xc3\xa9 \x7f"},
    )
    found = (await reader.client.get(f"{AUTH}/sessions")).json()["items"]
    assert [item["is_current"] for item in found] == [False, True]
    assert found[0]["device"].startswith("Phone/1")
    phone = f"{AUTH}/sessions/{found[0]['id']}"
    # Not mine and not there read the same.
    foreign = await other_reader.client.delete(phone)
    missing = await other_reader.client.delete(f"{AUTH}/sessions/01890000-0000-7000-8000-000000000000")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
    assert (await reader.client.delete(phone)).status_code == 204
    assert (await reader.client.delete(phone)).status_code == 404
    assert len((await reader.client.get(f"{AUTH}/sessions")).json()["items"]) == 1


async def test_signing_out_everywhere_else_keeps_this_session(client: httpx2.AsyncClient, reader: Person) -> None:
    elsewhere = await _tokens(client, reader)
    assert (await reader.client.delete(f"{AUTH}/sessions")).status_code == 204
    assert (await client.get(f"{AUTH}/me", headers=bearer(elsewhere["access_token"]))).status_code == 401
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 200


async def test_a_session_ends_for_idleness_and_finally(
    client: httpx2.AsyncClient, database: Database, reader: Person
) -> None:
    now = datetime.now(UTC)
    async with database.reading() as session:
        row = (await session.scalars(select(Session))).one()
    assert row.expires_at - now < sessions.IDLE[Role.READER] + timedelta(seconds=1)
    assert row.ends_at is not None
    assert row.expires_at < row.ends_at
    await _age(database, ends_at=now + timedelta(minutes=1))
    tokens = await _tokens(client, reader)
    await _age(database, ends_at=now + timedelta(minutes=1))
    await _refresh(client, tokens["refresh_token"])
    async with database.reading() as session:
        assert await session.scalar(select(func.min(Session.expires_at))) == now + timedelta(minutes=1)
    await _age(database, expires_at=now)
    assert (await reader.client.get(f"{AUTH}/me")).status_code == 401
    async with database.transaction() as session:
        assert await accounts.purge(session, now=now, limit=100) == 2


async def test_changing_the_signing_key_signs_nobody_out(
    settings: Settings, client: httpx2.AsyncClient, reader: Person
) -> None:
    tokens = await _tokens(client, reader)
    rotated = create_app(
        settings.model_copy(update={"secret_key": SecretStr(NEW_SECRET), "secret_keys_old": (SecretStr(SECRET),)})
    )
    dropped = create_app(settings.model_copy(update={"secret_key": SecretStr(NEW_SECRET)}))
    for shell, expected in ((rotated, 200), (dropped, 401)):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=shell), base_url="http://localhost") as later:
            answer = await later.get(f"{AUTH}/me", headers=bearer(tokens["access_token"]))
            assert answer.status_code == expected
            if expected == 200:
                renewed = (await _refresh(later, tokens["refresh_token"])).json()
                assert (await later.get(f"{AUTH}/me", headers=bearer(renewed["access_token"]))).status_code == 200
                assert (await client.get(f"{AUTH}/me", headers=bearer(renewed["access_token"]))).status_code == 401
        await close(shell)


async def test_a_cookie_session_is_known_by_its_cookie_alone(
    client: httpx2.AsyncClient, database: Database, reader: Person
) -> None:
    now = datetime.now(UTC)
    async with database.transaction() as session:
        user = await user_queries.by_email(session, reader.email)
        assert user is not None
        cookie = await sessions.open_cookie_session(session, user=user, life=timedelta(days=1), now=now)
    found = await sessions.identify_cookie(database.ask, cookie=cookie, now=now)
    assert found is not None
    assert (found[0].user_id, found[1]) == (user.id, False)
    later = now + sessions.SEEN_EVERY * 2
    assert (await sessions.identify_cookie(database.ask, cookie=cookie, now=later) or (None, False))[1] is True
    assert await sessions.identify_cookie(database.ask, cookie=cookie[:-1] + "_", now=now) is None
    async with database.transaction() as session:
        await sessions.touch(session, identity=found[0], now=later)
    assert (await sessions.identify_cookie(database.ask, cookie=cookie, now=later) or (None, True))[1] is False
    # A cookie is no refresh token, and no token is a cookie.
    assert (await _refresh(client, f"{cookie}.{cookie}")).status_code == 401
    tokens = await _tokens(client, reader)
    family = tokens["refresh_token"].partition(".")[0]
    assert await sessions.identify_cookie(database.ask, cookie=family, now=now) is None
