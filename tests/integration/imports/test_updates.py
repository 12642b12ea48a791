"""Records that come again: unchanged, changed upstream, edited here, deleted; holdings; dry runs; resuming."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import service as books
from app.books.models import Book
from app.copies.models import Copy
from app.core.db import Database
from app.imports import service as imports
from app.imports.readers import BATCH_RECORDS
from app.imports.schemas import Options, RecordVerdict, Verdict
from tests.integration.imports.files import NOW, Fields, marc, record, take_in_bytes

pytestmark = pytest.mark.anyio

AUTHOR: Fields = [("100", "1 ", [("a", "Herbert, Frank.")])]
ISBN: Fields = [("020", "  ", [("a", "0441172717")])]


async def book(database: Database, book_id: int | None) -> dict[str, Any]:
    async with database.reading() as session:
        row = await session.get(Book, book_id)
        assert row
        return {"version": row.version, **json.loads(row.document)}


async def edit(database: Database, book_id: int | None, **changes: Any) -> None:
    async with database.transaction() as session:
        await books.change(session, book_id=book_id or 0, changes=changes, if_match=None, now=NOW)


async def test_upstreams_changes_are_taken_field_by_field_and_edits_made_here_are_kept_and_told(
    database: Database, tmp_path: Path
) -> None:
    [first] = await take_in_bytes(database, tmp_path, marc(1, "Dune /", [*AUTHOR, ("250", "  ", [("a", "1st ed.")])]))
    await edit(database, first.book_id, title="Dune!")
    changed = marc(1, "Dune, the book /", [*AUTHOR, ("250", "  ", [("a", "2nd ed.")])])
    [second] = await take_in_bytes(database, tmp_path, changed)
    assert (second.verdict, second.book_id) == (Verdict.UPDATED, first.book_id)
    assert {name: (change.before, change.after) for name, change in second.changes.items()} == {
        "edition": ("1st ed.", "2nd ed.")
    }
    assert second.kept_local == ["title"]
    stored = await book(database, first.book_id)
    assert (stored["title"], stored["edition"], stored["version"]) == ("Dune!", "2nd ed.", 3)
    [again] = await take_in_bytes(database, tmp_path, changed)
    assert (again.verdict, again.kept_local) == (Verdict.UNCHANGED, [])


async def test_overwriting_takes_upstreams_text_also_where_it_was_edited_here(
    database: Database, tmp_path: Path
) -> None:
    [first] = await take_in_bytes(database, tmp_path, marc(1, "Dune /"))
    await edit(database, first.book_id, title="Dune!")
    [second] = await take_in_bytes(database, tmp_path, marc(1, "Dune /"), Options(overwrites=True))
    assert (second.verdict, list(second.changes)) == (Verdict.UPDATED, ["title"])
    assert (await book(database, first.book_id))["title"] == "Dune"


async def test_what_upstream_deleted_is_suppressed_unless_it_has_copies(database: Database, tmp_path: Path) -> None:
    holding: Fields = [("952", "  ", [("p", "100")])]
    first = await take_in_bytes(database, tmp_path, marc(1) + marc(2, fields=holding))
    deleted = "00000dam a2200000 a 4500"
    gone = await take_in_bytes(database, tmp_path, b"".join(marc(number, "", leader=deleted) for number in (1, 2, 3)))
    assert [(verdict.verdict, verdict.reason) for verdict in gone] == [
        (Verdict.UPDATED, "deleted upstream"),
        (Verdict.UNCHANGED, "deleted upstream, kept because it has copies"),
        (Verdict.UNCHANGED, "deleted upstream, and not in this library"),
    ]
    assert [(await book(database, verdict.book_id))["suppressed"] for verdict in first] == [True, False]
    [again] = await take_in_bytes(database, tmp_path, marc(1, "", leader=deleted))
    assert again.verdict is Verdict.UNCHANGED


async def test_another_record_with_the_same_isbn_is_imported_and_listed_as_doubtful(
    database: Database, tmp_path: Path
) -> None:
    first, second = await take_in_bytes(database, tmp_path, marc(1, fields=ISBN) + marc(2, fields=ISBN))
    assert (first.verdict, second.verdict) == (Verdict.IMPORTED, Verdict.POSSIBLE_DUPLICATE)
    assert second.duplicates == [first.book_id]
    [third] = await take_in_bytes(database, tmp_path, marc(1, fields=ISBN), Options(source_name="OTHER"))
    assert (third.verdict, third.duplicates) == (Verdict.POSSIBLE_DUPLICATE, [first.book_id, second.book_id])


async def test_holdings_become_copies_and_a_taken_barcode_is_told(database: Database, tmp_path: Path) -> None:
    koha = ("952", "  ", [("p", "100"), ("o", "PS3558"), ("a", "MAIN"), ("y", "BK"), ("c", "Stacks"), ("z", "Worn")])
    loc = ("852", "  ", [("a", "DLC"), ("h", "PS3558.E63"), ("i", "D8 1999"), ("p", "101")])
    other = [("952", "  ", [("p", "100")]), ("952", "  ", [("p", "102"), ("a", "moon")]), ("952", "  ", [("p", "1 0")])]
    first, second = await take_in_bytes(database, tmp_path, marc(1, fields=[koha, loc]) + marc(2, fields=other))
    assert (first.copies_added, first.copies_refused) == (2, [])
    assert (second.verdict, second.copies_added) == (Verdict.IMPORTED, 0)
    assert second.copies_refused[1:] == [
        f"barcode 100: a copy of book {first.book_id} has it",
        "barcode 102: there is no branch 'moon'",
    ]
    assert "1 0" in second.copies_refused[0]
    async with database.reading() as session:
        copies = list(await session.scalars(select(Copy).order_by(Copy.barcode)))
    assert [(copy.barcode, copy.call_number, copy.branch_id, copy.item_type, copy.status) for copy in copies] == [
        ("100", "PS3558", "main", "bk", "available"),
        ("101", "PS3558.E63 D8 1999", "main", "book", "available"),
    ]
    assert (copies[0].shelf_location, copies[0].note) == ("Stacks", "Worn")
    again, _ = await take_in_bytes(database, tmp_path, marc(1, "New /", fields=[koha, loc]) + marc(2, fields=other))
    assert (again.verdict, again.copies_added, again.copies_refused) == (Verdict.UPDATED, 0, [])


async def test_a_dry_run_tells_what_would_change_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    [first] = await take_in_bytes(database, tmp_path, marc(1, "Dune /"))
    new, changed = await take_in_bytes(database, tmp_path, marc(2) + marc(1, "Dune messiah /"), is_dry=True)
    assert (new.verdict, changed.verdict) == (Verdict.IMPORTED, Verdict.UPDATED)
    assert changed.changes["title"].model_dump() == {"before": "Dune", "after": "Dune messiah"}
    assert (await book(database, first.book_id))["title"] == "Dune"
    async with database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(Book)) == 1


class Killed(Exception):
    """Stands for a process that ends."""


async def test_an_import_that_was_killed_is_completed_by_running_it_again(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "records.mrc"
    path.write_bytes(b"".join(marc(number) for number in range(1, 1_401)))

    def die(verdicts: list[RecordVerdict], _read_bytes: int) -> None:
        if verdicts[-1].position > BATCH_RECORDS:
            raise Killed

    with pytest.raises(Killed):
        await imports.take_in(database, path, options=Options(), clock=lambda: NOW, report=die)
    verdicts = await take_in_bytes(database, tmp_path, path.read_bytes())
    counts = [
        sum(verdict.verdict is wanted for verdict in verdicts) for wanted in (Verdict.UNCHANGED, Verdict.IMPORTED)
    ]
    assert counts == [2 * BATCH_RECORDS, 1_400 - 2 * BATCH_RECORDS]
    async with database.reading() as session:
        titles = list(await session.scalars(select(Book.title).order_by(Book.id)))
    assert titles == [f"A book {number}" for number in range(1, 1_401)]


async def test_a_record_without_a_number_is_known_by_its_content(database: Database, tmp_path: Path) -> None:
    without = record(None, "Dune /", AUTHOR).as_marc()
    [first] = await take_in_bytes(database, tmp_path, without)
    [again] = await take_in_bytes(database, tmp_path, without)
    assert (first.verdict, again.verdict) == (Verdict.IMPORTED, Verdict.UNCHANGED)
    assert (again.control_number or "").startswith("sha256:")


async def test_a_database_that_is_away_for_a_moment_ends_no_import_and_rejects_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PAUSES_SECONDS", (0.01, 0.01))
    failures = [OperationalError("BEGIN", {}, Exception("away")), ConnectionRefusedError("away")]
    transaction = Database.transaction

    @asynccontextmanager
    async def failing(self: Database) -> AsyncIterator[AsyncSession]:
        async with transaction(self) as session:
            yield session
            if failures:
                raise failures.pop()

    monkeypatch.setattr(Database, "transaction", failing)
    verdicts = await take_in_bytes(database, tmp_path, marc(1) + marc(2))
    assert [verdict.verdict for verdict in verdicts] == [Verdict.IMPORTED, Verdict.IMPORTED]
    failures = [OperationalError("BEGIN", {}, Exception("disk full"))] * 5
    with pytest.raises(OperationalError):
        await take_in_bytes(database, tmp_path, marc(3))
