"""Ugly text comes back byte-equal through every door, and does nothing there: files of the catalogue, letters."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.books import service as books
from app.books.models import Book
from app.books.schemas import BookCreate
from app.core.db import Database
from app.core.mail import one_line
from app.imports.schemas import Format, Verdict
from app.notifications.letters import TITLE_CHARACTERS
from app.notifications.models import Kind
from tests import evidence
from tests.integration.imports.files import NOW, take_in_bytes
from tests.integration.imports.test_formats import empty, exported
from tests.integration.security import payloads
from tests.unit.notifications.test_letters import Reader, arrived, part, written

pytestmark = pytest.mark.anyio

# No XML can hold them (XML 1.0, section 2.2).
NO_XML = {"\ufffe", "\uffff"}
MARKUP = {"html", "head", "bdi", "meta", "title", "body", "p", "a", "br"}


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
