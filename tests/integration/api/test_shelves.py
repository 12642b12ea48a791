"""Lists of all books before the framework: what the endpoint would say, byte for byte, and never anybody's own."""

import httpx2
import pytest

from app.api.shelves import Shelves
from app.books import service as books
from app.books.schemas import BookCreate, BookPage
from app.core.config import Settings
from app.core.db import Database
from app.core.exchange import Scope, Send
from app.core.middleware import Shell
from app.main import create_app
from tests.conftest import Person, _client, close
from tests.integration.api.test_response_cache import NOW

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"
TITLES = ("Ёлка", "O'Reilly", "<b>bold</b>", "naïve", "Ёлка", "日本", "a" * 300, '"quoted"', "\\ back", "zebra")


@pytest.fixture
async def plain(settings: Settings, database: Database) -> Shell:
    """The service, with no cache and books in it: some removed, some hidden, some with the same title."""
    async with database.transaction() as session:
        for number in range(60):
            data = BookCreate(title=TITLES[number % len(TITLES)], suppressed=number % 17 == 3)
            book = await books.add(session, data=data, now=NOW)
            if number % 19 == 5:
                await books.remove(session, book_id=book.id, if_match=None, in_use=[], now=NOW)
    return create_app(settings.model_copy(update={"cache_enabled": False, "rate_limit_enabled": False}))


async def test_both_ways_give_the_same_answer_to_every_question(plain: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [
        "", "?limit=7", "?sort=newest&limit=9", "?limit=100", "?sort=title&limit=9", "?limit=9&sort=popularity",
        "?limit=09",
        "?sort=relevance", "?limit=0", "?limit=101", "?limit=x", "?limit=%D9%A3", "?limit=5&limit=6", "?sort=oldest",
        "?cursor=x", "?cursor=", "?sort=", "?q=", "?colour=red", "?limit=5&", "?limit=5&cursor=&sort=title",
        "?suppressed=true", "?available=true", "?include=availability", "?year_from=1999", "?limit=1000000000000",
    ]  # fmt: skip
    answered = 0
    by_shelf: list[str] = []

    async def noting(self: Shelves, scope: Scope, send: Send) -> bool:
        if is_quick := await answer(self, scope, send):
            by_shelf.append(scope["query_string"].decode())
        return is_quick

    answer = Shelves.answer
    monkeypatch.setattr(Shelves, "answer", noting)
    async with _client(plain) as client:
        while questions:
            path = BOOKS + questions.pop()
            quick = await client.get(path)
            with monkeypatch.context() as patch:
                patch.setattr(plain, "shortcut", None)
                slow = await client.get(path)
                held = await client.get(path, headers={"If-None-Match": slow.headers.get("etag", "none")})
            assert _said(quick) == _said(slow), path
            if quick.status_code != 200:
                continue
            again = await client.get(path, headers={"If-None-Match": slow.headers["etag"]})
            if "no-store" not in slow.headers["cache-control"]:
                assert _said(again) == _said(held)
                assert again.status_code == 304
            BookPage.model_validate_json(quick.content)
            answered += 1
            if (following := quick.json()["next"]) and "relevance" not in path:
                assert quick.links["next"]["url"] == slow.links["next"]["url"]
                questions.append(quick.links["next"]["url"].removeprefix(BOOKS))
                questions.append(f"?sort=title&cursor={following}")  # of another question, mostly
    assert answered > 40
    for sort in ("newest", "title", "popularity"):
        assert [asked for asked in by_shelf if f"sort={sort}" in asked and "cursor=" in asked], sort
    await close(plain)


def _said(answer: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    own = {"x-request-id", "ratelimit", "date"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    body = answer.content if answer.status_code < 400 else b""  # a refusal holds the request's id
    return answer.status_code, headers, body


async def test_whoever_shows_who_he_is_is_answered_by_the_application(
    plain: Shell, librarian: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bool] = []

    async def noting(self: Shelves, scope: object, send: object) -> bool:
        sent.append(await answer(self, scope, send))  # type: ignore[arg-type]  # as the shell gives them
        return sent[-1]

    answer = Shelves.answer
    monkeypatch.setattr(Shelves, "answer", noting)
    async with _client(plain) as client:
        await client.get(BOOKS)
        await client.get(BOOKS, headers={"Cookie": "a=b"})
        await client.get(BOOKS, headers={"Authorization": librarian.client.headers["Authorization"]})
        await client.get(f"{BOOKS}?q=zebra")
        await client.post(BOOKS, json={})
        await client.head(BOOKS)
    assert sent == [True, False, False, False, False, True]
    await close(plain)


async def test_a_database_that_does_not_answer_is_told_as_everywhere(
    plain: Shell, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.transaction() as session:
        raw = await session.connection()
        await raw.exec_driver_sql("ALTER TABLE books RENAME TO elsewhere")
    async with _client(plain) as client:
        answer = await client.get(BOOKS)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    await close(plain)
