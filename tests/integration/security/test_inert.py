"""Ugly text comes back byte-equal through every door, and does nothing there: catalogue files, pages, letters."""

import os
import random
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from app.books import service as books
from app.books.models import Book
from app.books.schemas import BookCreate
from app.core.config import Settings
from app.core.db import Database
from app.core.mail import one_line
from app.imports.schemas import Format, Verdict
from app.notifications.letters import TITLE_CHARACTERS
from app.notifications.models import Kind
from tests import evidence
from tests.conftest import Person
from tests.integration.imports.files import NOW, take_in_bytes
from tests.integration.imports.test_formats import empty, exported
from tests.integration.security import payloads
from tests.unit.notifications.test_letters import Reader, arrived, part, written

pytestmark = pytest.mark.anyio

# No XML can hold them (XML 1.0, section 2.2).
NO_XML = {"\ufffe", "\uffff"}
LOOKED_AT = 30
SEARCHES = ("Plain", "Plaain", "zzyyxx", "*")
MARKUP = {"html", "head", "bdi", "meta", "title", "body", "p", "a", "br"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit_enabled": False})


def ugly(shared: Path) -> list[str]:
    """Every payload that a title may be, as it is stored."""
    texts = (text.strip() for text in payloads.strings(shared) if not payloads.is_refused(text))
    return sorted({text for text in texts if len(text) <= 2_000})


@pytest.mark.parametrize("wanted", list(Format))
async def test_ugly_titles_survive_every_format_of_the_catalogue(
    database: Database, tmp_path: Path, shared: Path, wanted: Format
) -> None:
    # Each database takes every second one.
    titles = ugly(shared)[int(database.is_sqlite) :: 2]
    assert len(titles) >= 750
    if wanted is Format.MARCXML:
        titles = [title for title in titles if not NO_XML & set(title)]
    async with database.transaction() as session:
        await books.add_many(session, books=[books.prepare(BookCreate(title=title), now=NOW) for title in titles])
    skipped: list[int] = []
    data = await exported(database, wanted, skipped)
    await empty(database)
    verdicts = await take_in_bytes(database, tmp_path, data)
    assert [verdict.reason for verdict in verdicts if verdict.verdict is not Verdict.IMPORTED] == []
    async with database.reading() as session:
        back = sorted(await session.scalars(select(Book.title)))
    assert skipped == []
    assert back == titles
    evidence.keep("S4", f"byte-equal through {wanted}", titles=len(titles), changed=0)


def test_ugly_titles_do_nothing_in_a_letter(shared: Path) -> None:
    titles = [title for title in ugly(shared) if len(title) <= TITLE_CHARACTERS]
    for title in titles:
        letter = arrived(written(Kind.OVERDUE_1, title=title))
        assert letter.keys() == arrived(written(Kind.OVERDUE_1)).keys(), title
        page = Reader(part(letter, "html"))
        assert page.elements <= MARKUP, title
        assert page.links == ["https://library.test/account"], title
        assert one_line(title) in " ".join(part(letter, "plain").split()) or one_line(title) in part(letter, "plain"), (
            title
        )
    evidence.keep("S4", "byte-equal through mail", titles=len(titles), changed=0)


class Seen(HTMLParser):
    """A page as a browser reads it: its titles and headings, what its fields hold, and which markup it is made of."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.titles: list[str] = []
        self.heading = ""
        self.fields: dict[str, str] = {}
        self.markup: set[tuple[str, ...]] = set()
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.markup.add((tag, *given))
        self._open.append(tag)
        if self._open[-2:] == ["h3", "a"]:
            self.titles.append("")
        if tag == "input" and "id" in given:
            self.fields[given["id"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open[-2:] == ["h3", "a"]:
            self.titles[-1] += data
        elif self._open[-1:] == ["h1"]:
            self.heading += data


async def _page(who: Person, path: str) -> Seen:
    answer = await who.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, path
    return Seen(answer.text)


async def test_ugly_titles_come_back_byte_equal_through_the_pages_and_do_nothing_there(
    database: Database, librarian: Person, shared: Path
) -> None:
    plain = await _add(database, ["Plain", "Plain too"])
    one = plain["Plain"]
    # A list that goes on, a book, its form; a search that finds, one that finds something else, two that find nothing.
    paths = ("/?sort=newest&limit=1", f"/books/{one}", f"/cataloguing/{one}", *(f"/?q={q}" for q in SEARCHES))
    known = set[tuple[str, ...]]().union(*[(await _page(librarian, path)).markup for path in paths])
    # Each database takes every second one.
    titles = ugly(shared)[int(database.is_sqlite) :: 2]
    ids = await _add(database, titles)
    listed: list[str] = []
    query = "sort=newest&limit=100"
    while query:
        answer = await librarian.client.get(f"/?{query}", headers={"Accept": "text/html"})
        seen = Seen(answer.text)
        listed += seen.titles
        assert seen.markup <= known, seen.markup - known
        following = (await librarian.client.get(f"/api/v1/books?{query}")).json()["next"]
        query = f"sort=newest&limit=100&cursor={following}" if following else ""
    assert sorted(listed) == sorted([*titles, *plain])
    for title in random.Random(len(titles)).sample(titles, len(titles) if os.environ.get("FULL") else LOOKED_AT):
        book = await _page(librarian, f"/books/{ids[title]}")
        assert book.heading == title
        form = await _page(librarian, f"/cataloguing/{ids[title]}")
        assert form.fields["title"] == title
        search = await _page(librarian, f"/?{urlencode({'q': title[:200]})}")
        assert search.fields["q"] in {title[:200], title[:200].strip()}
        assert book.markup | form.markup | search.markup <= known, title
    evidence.keep("S4", "byte-equal through pages", titles=len(titles), changed=0)


async def _add(database: Database, titles: list[str]) -> dict[str, int]:
    async with database.transaction() as session:
        await books.add_many(session, books=[books.prepare(BookCreate(title=title), now=NOW) for title in titles])
    async with database.reading() as session:
        rows = await session.execute(select(Book.title, Book.id))
        return {row.title: row.id for row in rows}
