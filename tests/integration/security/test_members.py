"""Who gets a member's place: only what was handed out here and is in force, whatever a stranger makes up."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import update

from app.api import members as judging
from app.api.cookies import cookie_name
from app.api.members import Members
from app.auth.models import ApiKey, Session
from app.auth.service import sessions
from app.core.config import Settings
from app.core.db import Database
from app.core.exchange import Exchange, Message
from app.core.lanes import Overloaded
from app.core.middleware import Shell
from app.core.security import TokenSigner, new_token
from app.users.models import User
from tests.circulation import Library
from tests.conftest import Person
from tests.tokens import sign_in

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def members(settings: Settings, database: Database, clock: Clock) -> Members:
    return Members(settings, database, TokenSigner(settings), clock=clock)


@pytest.fixture
async def user(database: Database) -> User:
    return await Library(database).reader()


def _asked(path: str, **headers: str) -> Exchange:
    async def nothing(*_: Message) -> Message:
        return {}

    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": given}
    return Exchange(scope, nothing, nothing)  # type: ignore[arg-type]  # neither is called


async def test_a_token_counts_by_its_signature(
    members: Members, settings: Settings, database: Database, user: User
) -> None:
    [token] = await sign_in(database, settings, [user])
    body, _, signature = token.rpartition(".")
    stranger = TokenSigner(settings.model_copy(update={"public_url": "https://elsewhere.test"}))
    foreign = stranger.sign(user_id=user.id, session_id=user.id, now=datetime.now(UTC))
    late = TokenSigner(settings).sign(user_id=user.id, session_id=user.id, now=datetime.now(UTC) - timedelta(days=1))
    assert await members.include(_asked(BOOKS, authorization=f"Bearer {token}"))
    assert await members.include(_asked(BOOKS, authorization=f"bearer {token}"))
    for made_up in (foreign, late, f"{body}.{signature[::-1]}", "x", "", "a.b.c", "ё"):
        assert not await members.include(_asked(BOOKS, authorization=f"Bearer {made_up}")), made_up
    assert not await members.include(_asked(BOOKS, authorization=f"Basic {token}"))
    assert not await members.include(_asked(BOOKS, cookie=f"library_session={token}"))
    assert not await members.include(_asked(BOOKS))


async def test_a_cookie_counts_while_its_session_is_open_and_on_pages_alone(
    members: Members, settings: Settings, database: Database, user: User, clock: Clock
) -> None:
    now = datetime.now(UTC)
    async with database.transaction() as session:
        opened = [
            await sessions.open_cookie_session(session, user=user, life=timedelta(days=1), now=now) for _ in range(2)
        ]
    cookie, other = [f"a=b; {cookie_name(settings)}={value}" for value in opened]
    assert await members.include(_asked("/", cookie=cookie))
    assert not await members.include(_asked(BOOKS, cookie=cookie)), "the API takes no cookies"
    made_up = f"{cookie_name(settings)}={new_token()}"
    assert not await members.include(_asked("/", cookie=made_up))
    async with database.transaction() as session:
        await session.execute(update(Session).values(expires_at=now - timedelta(seconds=1)))
    assert not await members.include(_asked("/", cookie=other)), "it has expired"
    clock.now += judging.KNOWN_SECONDS - 1
    assert await members.include(_asked("/", cookie=cookie)), "known for a minute"
    clock.now += 2
    assert not await members.include(_asked("/", cookie=cookie))


async def test_a_key_counts_until_it_is_revoked(
    members: Members, database: Database, librarian: Person, clock: Clock
) -> None:
    made = await librarian.client.post("/api/v1/auth/api-keys", json={"name": "A", "scopes": ["account:read"]})
    asked = {"authorization": f"Bearer {made.json()['key']}"}
    assert await members.include(_asked(BOOKS, **asked))
    assert not await members.include(_asked(BOOKS, authorization="Bearer lib_" + new_token()))
    async with database.transaction() as session:
        await session.execute(update(ApiKey).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    clock.now += judging.KNOWN_SECONDS + 1
    assert not await members.include(_asked(BOOKS, **asked))


async def test_what_is_made_up_is_looked_up_by_few_at_once_and_never_kept(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members._looks, "in_line", 3)
    asked = [members.include(_asked(BOOKS, authorization=f"Bearer lib_{number}")) for number in range(40)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert found.count(False) >= judging.LOOKS_AT_ONCE + 3
    assert {type(each) for each in found} == {bool, Overloaded}
    assert not members._known


async def test_what_is_remembered_is_bounded(
    members: Members, settings: Settings, database: Database, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MAX_KNOWN", 2)
    for token in await sign_in(database, settings, [user] * 4):
        assert await members.include(_asked(BOOKS, authorization=f"Bearer {token}"))
    assert len(members._known) == 2


async def test_readers_search_while_strangers_fill_their_lane(
    service: Shell, client: httpx2.AsyncClient, reader: Person
) -> None:
    searches = service.lanes.of(BOOKS, b"q=x").stranger  # type: ignore[union-attr]  # a fork
    for _ in range(searches.width):
        await searches.__aenter__()
    searches.in_line = 0
    made_up = {"Authorization": "Bearer lib_made-up"}
    for headers, accept in (({}, "text/html"), ({}, "application/json"), (made_up, "application/json")):
        refused = await client.get("/?q=lamp", headers={**headers, "Accept": accept})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1"), headers
        assert refused.headers.get_list("Retry-After") == ["1"]
    assert (await reader.client.get(f"{BOOKS}?q=lamp")).status_code == 200
    assert (await client.get(BOOKS)).status_code == 200, "lists are another lane"
    assert (await client.get("/books/1")).status_code == 404


async def test_the_page_for_those_turned_away_is_made_once_for_each_language(
    service: Shell, client: httpx2.AsyncClient
) -> None:
    searches = service.lanes.of("/", b"q=x").stranger  # type: ignore[union-attr]  # a fork
    for _ in range(searches.width):
        await searches.__aenter__()
    searches.in_line = 0
    html = {"Accept": "text/html"}
    english = await client.get("/?q=lamp", headers=html)
    russian = await client.get("/?q=лампа&subject=x", headers=html | {"Accept-Language": "ru"})
    dark = await client.get("/?q=lamp", headers=html | {"Cookie": "light=dark"})
    odd = await client.get("/?q=lamp", headers=html | {"Cookie": "light=<script>"})
    assert "busy" in english.text
    assert 'lang="ru"' in russian.text
    assert 'data-theme="dark"' in dark.text
    assert odd.text == english.text
    assert english.headers["X-Request-ID"] != odd.headers["X-Request-ID"]
