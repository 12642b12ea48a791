"""Queries that nobody sane types: each gets an answer."""

import json
from pathlib import Path

import httpx2
import pytest

from app.books import queries
from app.books import service as books
from app.books.schemas import BookCreate, BookQuery
from app.core.db import Database
from tests.integration.imports.files import NOW

pytestmark = pytest.mark.anyio


async def test_every_naughty_string_gets_an_answer(
    client: httpx2.AsyncClient, database: Database, shared: Path
) -> None:
    naughty = json.loads((shared / "data" / "attacks" / "blns.json").read_text("utf-8"))
    async with database.transaction() as session:
        titles = [text[:500] for text in naughty if text.strip() and text.isprintable()]
        for title in titles:
            await books.add(session, data=BookCreate(title=title), now=NOW)
    wrong = []
    for text in naughty:
        for path in ("", "/suggest", "/facets"):
            answer = await client.get(f"/api/v1/books{path}", params={"q": text})
            if answer.status_code not in {200, 400, 414, 422}:
                wrong.append((path, text, answer.status_code))
    assert wrong == []
    assert len(naughty) > 400


@pytest.mark.parametrize("query", ["x" * 10_000, "x " * 5_000, '"' * 501])
async def test_a_query_of_ten_thousand_characters_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    answer = await client.get("/api/v1/books", params={"q": query})
    assert answer.status_code in {414, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_was_saved_is_found_by_whoever_asks_next_hundreds_of_times(database: Database) -> None:
    words = [a + b + c for a in "bdfgklmnpr" for b in ("ala", "ole", "iru", "eva") for c in "dkmnprstvz"]
    missed = []
    for word in words:
        async with database.transaction() as session:
            book = await books.add(session, data=BookCreate(title=f"About {word}"), now=NOW)
        async with database.reading() as session:
            found = await queries.page(session, BookQuery(q=word, limit=3))
        if [row.id for row in found.rows[:1]] != [book.id]:
            missed.append(word)
    assert (missed, len(words)) == ([], 400)
