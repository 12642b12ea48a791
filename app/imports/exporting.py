"""Export: the catalogue in the formats that import reads, so exactly that importing it elsewhere gives the same."""

from __future__ import annotations  # so that naming a type of theirs doesn't load it

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.books import queries as book_queries
from app.books import records
from app.books import service as books
from app.books.models import Book, SourceRecord
from app.books.schemas import BookCreate
from app.copies import queries as copy_queries
from app.copies.models import Copy
from app.copies.schemas import CopyCreate
from app.core.db import Database
from app.core.loading import pymarc
from app.imports.formats import flat, marcxml
from app.imports.formats.building import record_of
from app.imports.formats.framing import MAX_RECORD_BYTES
from app.imports.formats.texts import BOM
from app.imports.opening import UnusableFile
from app.imports.ownership import own_source
from app.imports.schemas import Format

BATCH_BOOKS: Final = 500
MAX_FIELD_BYTES: Final = 9_999
MEDIA_TYPES: Final = {
    Format.MARC: "application/marc",
    Format.MARCXML: "application/marcxml+xml",
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSONL: "application/x-ndjson",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A book with its key and its copies."""

    book: BookCreate
    source: str
    number: str
    copies: Sequence[CopyCreate]
    kept: SourceRecord | None


async def export(
    database: Database,
    record_format: Format,
    *,
    for_spreadsheet: bool = False,
    skip: Callable[[int, str], None] = lambda *_: None,
) -> AsyncIterator[bytes]:
    """Every book that was not removed, in order of id, in pieces of a few hundred; memory holds one.

    `for_spreadsheet` marks CSV as UTF-8 and keeps cells from being taken for formulas, at the price of exactness.
    `skip` is told the id of a book that the format can't hold, and why.
    """
    opening = {Format.MARCXML: marcxml.OPENING.encode(), Format.CSV: _head(for_spreadsheet=for_spreadsheet)}
    yield opening.get(record_format, b"")
    after_id = 0
    while True:
        async with database.reading() as session:
            found = await book_queries.present_after(session, after_id=after_id, limit=BATCH_BOOKS)
            ids = [book.id for book in found]
            sources = await records.first_of(session, ids)
            held = await copy_queries.of_books(session, ids)
            own = await own_source(session)
        if not found:
            break
        after_id = ids[-1]
        parts = []
        for book in found:
            item = _item(book, sources.get(book.id), held.get(book.id, []), own)
            part = _written(item, record_format, for_spreadsheet=for_spreadsheet)
            if part is None:
                skip(book.id, "too long for MARC 21; MARCXML holds it")
            else:
                parts.append(part)
        yield b"".join(parts)
    yield marcxml.CLOSING.encode() if record_format is Format.MARCXML else b""


def _item(book: Book, kept: SourceRecord | None, held: Sequence[Copy], own: str) -> Item:
    copies = [
        CopyCreate(
            barcode=copy.barcode,
            call_number=copy.call_number,
            branch=copy.branch_id,
            shelf_location=copy.shelf_location,
            item_type=copy.item_type,
            price_minor=copy.price_minor,
            note=copy.note,
        )
        for copy in held
    ]
    source, number = (kept.source, kept.control_number) if kept else (own, str(book.id))
    return Item(books.fields_of(book), source, number, copies, kept)


def _written(item: Item, record_format: Format, *, for_spreadsheet: bool) -> bytes | None:
    if record_format is Format.JSONL:
        return _line(item)
    if record_format is Format.CSV:
        return _row(item, for_spreadsheet=for_spreadsheet)
    base = _base(item.kept)
    record = record_of(item.book, number=item.number, source=item.source, base=base, copies=item.copies)
    return marcxml.text_of(record).encode() if record_format is Format.MARCXML else _binary(record)


def _base(kept: SourceRecord | None) -> pymarc.Record | None:
    try:
        if kept and kept.format == Format.MARC:
            return pymarc.Record(kept.record, hide_utf8_warnings=True)
        if kept and kept.format == Format.MARCXML:
            return marcxml.record_of(kept.record)
    except (pymarc.exceptions.PymarcException, ValueError, LookupError, UnusableFile):
        return None
    return None


def _binary(record: pymarc.Record) -> bytes | None:
    """ISO 2709; None if a field or the record is longer than its directory can say."""
    for field in record.fields:
        if len(field.as_marc(encoding="utf-8")) > MAX_FIELD_BYTES:
            return None
    data = record.as_marc()
    return data if len(data) <= MAX_RECORD_BYTES else None


def _line(item: Item) -> bytes:
    members = {"id": item.number, "source": item.source, **item.book.model_dump(exclude_defaults=True)}
    members["title"] = item.book.title
    if item.copies:
        members["copies"] = [copy.model_dump(exclude_none=True) for copy in item.copies]
    return (json.dumps(members, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _head(*, for_spreadsheet: bool) -> bytes:
    return (BOM if for_spreadsheet else b"") + (",".join(flat.COLUMNS) + "\r\n").encode()


def _row(item: Item, *, for_spreadsheet: bool) -> bytes:
    cells = {"id": item.number, "source": item.source, **flat.cells_of(item.book, item.copies)}
    row = [cells[name] for name in flat.COLUMNS]
    if for_spreadsheet:
        row = [f"'{cell}" if cell.startswith(_FORMULA_SIGNS) else cell for cell in row]
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue().encode()


_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")
