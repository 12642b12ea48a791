"""Formats: what is exported is imported as the same library; odd lines, cells and XML are told."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pymarc.marcxml import record_to_xml
from sqlalchemy import delete, select, text

from app.books import service as books
from app.books.models import Book, SourceRecord
from app.books.schemas import BookCreate
from app.copies import service as copies
from app.copies.models import Copy
from app.copies.schemas import CopyCreate
from app.core.db import Database
from app.imports import exporting
from app.imports.schemas import Format, Verdict
from tests.integration.imports.files import NOW, marc, record, take_in, take_in_bytes

pytestmark = pytest.mark.anyio

AWKWARD = [
    {"title": "=1+1"},
    {"title": "Ends with a stop.", "subtitle": "and | a \\ bar = sign /", "suppressed": True},
    {"title": "\"Quoted\", 'and' <tagged> & more", "summary": 'First.\n\nSecond,\r\nthird.\t"x"'},
    {
        "title": "The Hobbit",
        "sort_title": "Hobbit",
        "contributors": [
            {"name": "Tolkien, J. R. R.", "role": "author"},
            {"name": "Another=one|two", "role": "second author"},
            {"name": "A third", "role": "contributor"},
        ],
        "languages": ["eng", "sjn"],
        "year": -50,
        "date": "[50 B.C.?]",
        "place": "[S.l.]",
        "identifiers": [{"type": "oclc", "value": "ocm1"}, {"type": "isbn", "value": "0-261-10221-4 (pbk.) :"}],
        "classifications": [{"scheme": "bbk", "value": "84(4)"}, {"scheme": "ddc", "value": "823/.912"}],
        "subjects": ["Fantasy -- ", "Elves -- Fiction -- 20th century."],
        "series": ["Series ; 1", ""][:1],
        "alternative_titles": ["There and back again", "The Hobbit"],
        "original_script": [{"field": "title", "value": "霍比特人"}, {"field": "summary", "value": "夏尔"}],
    },
    {"title": "Long", "summary": "x" * 15_000},
    {"title": "Ünïcode \u200fעברית\u200e \u200dजोड़"},
]


async def fill(database: Database, folder: Path) -> None:
    await take_in_bytes(
        database,
        folder,
        marc(
            "a1",
            "Dune / ",
            [("100", "1 ", [("a", "Herbert, Frank,"), ("d", "1920-1986.")]), ("500", "  ", [("a", "Note.")])],
        )
        + marc("a2", "Edited /", [("500", "  ", [("a", "A note that must stay.")])]),
    )
    async with database.transaction() as session:
        edited = (await session.scalars(select(Book).where(Book.title == "Edited"))).one()
        await books.change(session, book_id=edited.id, changes={"edition": "2nd; ed."}, if_match=None, now=NOW)
        awkward = [books.prepare(BookCreate.model_validate(fields), now=NOW) for fields in AWKWARD]
        added = await books.add_many(session, books=awkward)
        await copies.add_many(
            session,
            copies=[
                (added[0], CopyCreate(barcode="b|1", call_number="=A|B", price_minor=1250, note="x=y")),
                (added[0], CopyCreate(barcode="b2", item_type="dvd", shelf_location="Top")),
            ],
            branch_id="main",
            now=NOW,
        )


async def library(database: Database) -> dict[str, Any]:
    """Everything that must survive, whatever the ids."""
    async with database.reading() as session:
        found = list(await session.scalars(select(Book).order_by(Book.id)))
        held = list(await session.scalars(select(Copy).order_by(Copy.id)))
    titles = {book.id: book.title for book in found}
    return {
        "books": [books.fields_of(book).model_dump() for book in found],
        "copies": [
            (titles[copy.book_id], copy.barcode, copy.call_number, copy.branch_id, copy.item_type, copy.price_minor,
             copy.shelf_location, copy.note)
            for copy in held
        ],
    }  # fmt: skip


async def exported(database: Database, wanted: Format, skipped: list[int] | None = None, **how: Any) -> bytes:
    told = [] if skipped is None else skipped
    pieces = [piece async for piece in exporting.export(database, wanted, skip=lambda id_, _: told.append(id_), **how)]
    return b"".join(pieces)


async def empty(database: Database) -> None:
    async with database.transaction() as session:
        for model in (Copy, SourceRecord, Book):
            await session.execute(delete(model))
        await session.execute(text("DELETE FROM access_points"))


@pytest.mark.parametrize("wanted", list(Format))
async def test_what_is_exported_is_imported_as_the_same_library(
    database: Database, tmp_path: Path, wanted: Format
) -> None:
    await fill(database, tmp_path)
    before = await library(database)
    skipped: list[int] = []
    data = await exported(database, wanted, skipped)
    verdicts_here = await take_in_bytes(database, tmp_path, data)
    assert {verdict.verdict for verdict in verdicts_here if verdict.control_number in {"a1", "a2"}} == {
        Verdict.UNCHANGED
    }
    await empty(database)
    verdicts = await take_in_bytes(database, tmp_path, data)
    assert {verdict.verdict for verdict in verdicts} == {Verdict.IMPORTED}
    after = await library(database)
    if wanted is Format.MARC:
        before["books"] = [fields for fields in before["books"] if fields["title"] != "Long"]
        assert len(skipped) == 1
    assert after == before
    if wanted in {Format.MARC, Format.MARCXML}:
        assert "A note that must stay." in (await exported(database, wanted)).decode()


async def test_a_table_that_was_exported_edited_and_imported_again_changes_the_books_it_came_from(
    database: Database, tmp_path: Path
) -> None:
    await fill(database, tmp_path)
    data = await exported(database, Format.CSV)
    verdicts = await take_in_bytes(database, tmp_path, data.replace(b"The Hobbit", b"The Hobbits"))
    changed = [verdict for verdict in verdicts if verdict.verdict is Verdict.UPDATED]
    assert [sorted(verdict.changes) for verdict in changed] == [["alternative_titles", "title"]]
    assert {verdict.verdict for verdict in verdicts} == {Verdict.UPDATED, Verdict.UNCHANGED}
    assert "The Hobbits" in {fields["title"] for fields in (await library(database))["books"]}


async def test_csv_for_people_guards_formulas_and_says_that_it_is_utf8(database: Database, tmp_path: Path) -> None:
    await fill(database, tmp_path)
    data = await exported(database, Format.CSV, for_spreadsheet=True)
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert "'=1+1" in {row["title"] for row in rows}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


async def test_marcxml_of_other_systems_is_read(database: Database, tmp_path: Path) -> None:
    one = record_to_xml(record("1", "Dune /", [("100", "1 ", [("a", "Herbert & Son.")])]), namespace=True).decode()
    wrapped = (
        one.replace("<record ", "<marc:record ").replace("xmlns=", "xmlns:marc=").replace("</record>", "</marc:record>")
    )
    for tag in ("leader", "controlfield", "datafield", "subfield"):
        wrapped = wrapped.replace(f"<{tag}", f"<marc:{tag}").replace(f"</{tag}", f"</marc:{tag}")
    for number, text_of in enumerate(
        (one, wrapped, f'<?xml version="1.0"?>\n<!-- x -->\n<collection xmlns="x">{one}</collection>')
    ):
        [verdict] = await take_in_bytes(database, tmp_path, text_of.encode())
        assert verdict.verdict is (Verdict.UNCHANGED if number else Verdict.IMPORTED), verdict
    [fields] = (await library(database))["books"]
    assert (fields["title"], fields["contributors"]) == ("Dune", [{"name": "Herbert & Son", "role": "author"}])


BOMB = '<?xml version="1.0"?><!DOCTYPE c [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><collection>&b;</collection>'


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (BOMB, "xml_forbidden"),
        ("<collection><record><leader>x</leader>", "xml_broken"),
        ("<collection><record>&undefined;</record></collection>", "xml_broken"),
        ("id,name\n1,Dune\n", "unknown_format"),
        ("title,nonsense\nDune,1\n", "unknown_columns"),
    ],
)
async def test_a_text_that_is_no_catalogue_is_named_as_such(
    database: Database, tmp_path: Path, content: str, code: str
) -> None:
    path = tmp_path / "records"
    path.write_text(content, encoding="utf-8")
    outcome, verdicts = await take_in(database, path)
    assert (outcome.problem_code, verdicts) == (code, [])


async def test_a_table_of_people_is_read(database: Database, tmp_path: Path) -> None:
    table = (
        "Title;Author;ISBN;Year;Language;Barcode;Call_number\r\n"
        "Dune;Herbert, Frank;0441172717;1965;eng;1|2;SF HER\r\n"
        '"Two\nlines";;;;;;\r\n'
        "\r\n"
        "Bad year;;;soon;;;\r\n"
        "Too;few\r\n"
        "Emma;Austen, Jane|illustrator=Brock, C. E.;;1815;eng|fre;;\r\n"
    )
    verdicts = await take_in_bytes(database, tmp_path, b"\xef\xbb\xbf" + table.encode())
    assert [(verdict.verdict, verdict.reason) for verdict in verdicts] == [
        (Verdict.IMPORTED, None),
        (Verdict.REJECTED, "title: Value error, must be one line without control characters"),
        (Verdict.REJECTED, "year: 'soon' is no number"),
        (Verdict.REJECTED, "the row has 2 cells, the first line names 7 columns"),
        (Verdict.IMPORTED, None),
    ]
    found = await library(database)
    assert found["books"][0]["contributors"] == [{"name": "Herbert, Frank", "role": "author"}]
    assert found["books"][1]["contributors"][1] == {"name": "Brock, C. E.", "role": "illustrator"}
    assert found["books"][1]["languages"] == ["eng", "fre"]
    assert [copy[:4] for copy in found["copies"]] == [("Dune", "1", "SF HER", "main"), ("Dune", "2", None, "main")]


async def test_a_table_in_another_encoding_is_told_row_by_row(database: Database, tmp_path: Path) -> None:
    verdicts = await take_in_bytes(database, tmp_path, "title\nПлоский мир\nEmma\n".encode("cp1251"))
    assert [verdict.verdict for verdict in verdicts] == [Verdict.REJECTED, Verdict.IMPORTED]
    assert "CSV UTF-8" in (verdicts[0].reason or "")


async def test_an_open_quotation_mark_costs_rows_but_not_the_file(database: Database, tmp_path: Path) -> None:
    rows = [f"Book {number} {'x' * 190}" for number in range(2_000)]
    data = "\n".join(["title", 'An "open', '"quote', *rows]).encode()
    verdicts = await take_in_bytes(database, tmp_path, data)
    assert verdicts[0].verdict is Verdict.IMPORTED
    assert verdicts[1].verdict is Verdict.REJECTED
    assert verdicts[-1].verdict is Verdict.IMPORTED
    assert len(verdicts) > 500


async def test_lines_of_json_are_judged_one_by_one(database: Database, tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": "1", "source": "TEST", "title": "Dune", "copies": [{"barcode": "1"}, {"barcode": ""}]}),
        '{"title": "Dune", "unknown": 1}',
        '{"title": 1}',
        "[1]",
        "{broken",
        "",
        '{"title": "' + "x" * 1_200_000 + '"}',
        '{"title": "Emma", "copies": 1}',
        '{"title": "Emma"}',
    ]
    verdicts = await take_in_bytes(database, tmp_path, "\n".join(lines).encode())
    assert [verdict.verdict for verdict in verdicts] == [
        Verdict.IMPORTED, *[Verdict.REJECTED] * 6, Verdict.IMPORTED
    ]  # fmt: skip
    assert (verdicts[0].copies_added, len(verdicts[0].copies_refused)) == (1, 1)
    assert "longer than" in (verdicts[5].reason or "")


async def test_marc8_is_read_with_its_letters_and_marks(database: Database, tmp_path: Path) -> None:
    # "Dvořák" and "Łódź" in ANSEL: the mark stands before its letter.
    title = b"Dvo\xe9r\xe2ak v \xa1\xe2od\xe2z /"
    placeholder = "X" * len(title)
    data = marc(1, placeholder).replace(placeholder.encode(), title)
    [verdict] = await take_in_bytes(database, tmp_path, data[:9] + b" " + data[10:])
    assert verdict.verdict is Verdict.IMPORTED, verdict
    [fields] = (await library(database))["books"]
    assert fields["title"] == "Dvořák v Łódź"
