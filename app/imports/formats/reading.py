"""Reading a catalogue file: which format it is in, and its records one by one with their keys."""

from __future__ import annotations  # so that naming a type of theirs doesn't load it

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from app.books.preparing import prepare
from app.books.schemas import BookCreate
from app.core.loading import pymarc
from app.imports.formats import holdings, marcxml, texts
from app.imports.formats.building import book_in
from app.imports.formats.framing import frames
from app.imports.formats.mapping import Unmappable
from app.imports.formats.slicing import Record, record_in
from app.imports.opening import Source, UnusableFile
from app.imports.schemas import Format, Incoming, Unread

UNNAMED_SOURCE: Final = "local"
"""The source of records that name none (no 003) when the importer names none either."""

# pymarc tells of each odd indicator; the verdict of the record says what a librarian must know.
logging.getLogger("pymarc").setLevel(logging.ERROR)


class UnknownFormat(UnusableFile):
    code, detail = (
        "unknown_format",
        "{name} is in no format that can be imported (MARC 21, MARCXML, CSV, JSON lines); it begins with {start}.",
    )


def format_of(source: Source) -> Format:
    """What the file is by its first bytes.

    Raises:
        UnknownFormat.
    """
    head = source.head.removeprefix(texts.BOM)
    for known, beginning in _BEGINNINGS.items():
        if beginning.match(head):
            return known
    start = source.head[:16].decode("ascii", "backslashreplace")
    raise UnknownFormat(name=source.name, start=repr(start))


def records(
    source: Source,
    *,
    clock: Callable[[], datetime],
    record_format: Format | None = None,
    source_name: str | None = None,
    after: int = 0,
) -> Iterator[Incoming | Unread]:
    """Every record of the file in order, those up to position `after` passed over; a bad one is told.

    `clock` says when the books that they make are made.

    Raises:
        UnusableFile: the file as a whole can't be read, or not to its end.
    """
    known = record_format or format_of(source)
    reader = _Reader(known, source_name, clock)
    for position, raw in enumerate(_RAW[known](source), 1):
        if position > after:
            yield raw if isinstance(raw, Unread) else reader.read(raw, position)


def kept_book(record_format: str, record: bytes) -> BookCreate | None:
    """The book that a kept record describes; None if it can't be read any more."""
    try:
        if record_format == Format.MARC:
            return book_in(record_in(record))
        if record_format == Format.MARCXML:
            return book_in(marcxml.record_of(record))
        return BookCreate.model_validate_json(record)
    except (pymarc.exceptions.PymarcException, ValueError, LookupError, UnusableFile):
        return None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads raw records of one format; `source_name` stands in for the source that they name."""

    record_format: Format
    source_name: str | None
    clock: Callable[[], datetime]

    def read(self, raw: Any, position: int) -> Incoming | Unread:
        if isinstance(raw, str):
            return Unread(position, raw)
        if self.record_format is Format.MARC:
            try:
                record = record_in(raw)
            except (pymarc.exceptions.PymarcException, ValueError, LookupError) as error:
                return Unread(position, reason_of(error))
            return self._marc(record, raw, position)
        if self.record_format is Format.MARCXML:
            return self._marc(raw, marcxml.text_of(raw).encode(), position)
        return self._flat(raw, position)

    def _marc(self, record: Record, data: bytes, position: int) -> Incoming | Unread:
        number = _control(record, "001")
        is_deleted = str(record.leader)[5] == "d"
        try:
            book = book_in(record)
        except (ValueError, LookupError) as error:
            if not (is_deleted and number):
                return Unread(position, reason_of(error), number)
            book = None
        copies, problems = holdings.copies_of(record)
        return Incoming(
            position=position,
            source=(self.source_name or _control(record, "003") or UNNAMED_SOURCE)[:64],
            control_number=number or _digest_of(book),
            digest=hashlib.sha256(data).hexdigest(),
            record_format=self.record_format,
            record=data,
            book=prepare(book, now=self.clock()) if book else None,
            copies=copies,
            problems=problems,
            is_deleted=is_deleted,
        )

    def _flat(self, raw: texts.Flat, position: int) -> Incoming | Unread:
        members, held = dict(raw[0]), raw[1]
        number, origin = (str(members.pop(name, "") or "").strip() for name in ("id", "source"))
        try:
            f"{number}{origin}".encode()
            book = BookCreate.model_validate(members)
        except UnicodeEncodeError:
            return Unread(position, "its id or source holds half a character (a lone surrogate)")
        except ValidationError as error:
            return Unread(position, reason_of(error), number[:255] or None)
        copies, problems = holdings.checked(held)
        record = book.model_dump_json().encode()
        whole = json.dumps([record.decode(), [copy.model_dump() for copy in copies]]).encode()
        return Incoming(
            position=position,
            source=(self.source_name or origin or UNNAMED_SOURCE)[:64],
            control_number=number[:255] or _digest_of(book),
            digest=hashlib.sha256(whole).hexdigest(),
            record_format=self.record_format,
            record=record,
            book=prepare(book, now=self.clock()),
            copies=copies,
            problems=problems,
        )


def _digest_of(book: BookCreate | None) -> str:
    """The key of a record that has none of its own: the same content always gives the same."""
    content = book.model_dump_json() if book else ""
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def reason_of(error: Exception) -> str:
    """Why a record was refused, as a sentence for a librarian."""
    if isinstance(error, UnicodeDecodeError):
        where = f"byte {error.object[error.start : error.start + 1].hex() or '?'}"
        return f"the text is not in the encoding that leader/09 names ({where} in {error.encoding})"
    if isinstance(error, ValidationError):
        problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False))
        return "; ".join(problems)[:500]
    if isinstance(error, Unmappable):
        return str(error)
    return f"the record's structure is damaged: {str(error) or type(error).__name__}"


def _control(record: Record, tag: str) -> str | None:
    field = record.get(tag)
    return (field.data or "").strip()[:255] or None if field else None


def _marc(source: Source) -> Iterator[bytes | str]:
    for frame in frames(source):
        yield f"at byte {frame.offset}: {frame.problem}" if frame.problem else frame.data


def _texts(flat: Iterator[texts.Flat | texts.BadLine]) -> Iterator[texts.Flat | str]:
    for record in flat:
        yield str(record) if isinstance(record, texts.BadLine) else record


_RAW: Final[dict[Format, Any]] = {
    Format.MARC: _marc,
    Format.MARCXML: marcxml.records,
    Format.CSV: lambda source: _texts(texts.table(source)),
    Format.JSONL: lambda source: _texts(texts.json_lines(source)),
}
_BEGINNINGS: Final = {
    Format.MARC: re.compile(rb"[\s\x00]*[0-9]{5}[\x20-\x7e]{7}[0-9]{5}"),
    Format.MARCXML: re.compile(rb"(?s)\s*(<\?xml.*?\?>\s*)?(<!--.*?-->\s*)*<(!DOCTYPE|(\w+:)?(collection|record)\b)"),
    Format.JSONL: re.compile(rb"\s*\{\s*\""),
    Format.CSV: re.compile(rb"(?i)[^\r\n]*\btitle\b"),
}
