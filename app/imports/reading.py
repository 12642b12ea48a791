"""Reading a catalogue file: which format it is in, and its records one by one with their keys."""

import hashlib
import logging
import re
from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError
from pymarc import Record
from pymarc.exceptions import PymarcException

from app.books.schemas import BookCreate
from app.imports.marc.framing import frames
from app.imports.marc.mapping import Unmappable, book_of
from app.imports.opening import Source, UnusableFile
from app.imports.schemas import Format, Incoming, Unread

UNNAMED_SOURCE: Final = "local"
"""The source of records that name none (no 003) when the importer names none either."""

# pymarc tells of each odd indicator; the verdict of the record says what a librarian must know.
logging.getLogger("pymarc").setLevel(logging.ERROR)


class UnknownFormat(UnusableFile):
    code, detail = "unknown_format", "{name} is in no format that can be imported (MARC 21); it begins with {start}."


def format_of(source: Source) -> Format:
    """What the file is by its first bytes.

    Raises:
        UnknownFormat.
    """
    if _MARC.match(source.head):
        return Format.MARC
    start = source.head[:16].decode("ascii", "backslashreplace")
    raise UnknownFormat(name=source.name, start=repr(start))


def records(source: Source, *, source_name: str | None = None) -> Iterator[Incoming | Unread]:
    """Every record of the file in order; a bad one is told and passed over.

    Raises:
        UnusableFile: the file as a whole can't be read, or not to its end.
    """
    format_of(source)
    for position, frame in enumerate(frames(source), 1):
        if frame.problem:
            yield Unread(position, f"at byte {frame.offset}: {frame.problem}")
        else:
            yield marc_record(frame.data, position=position, source_name=source_name)


def marc_record(data: bytes, *, position: int, source_name: str | None = None) -> Incoming | Unread:
    """One MARC record as it is taken in."""
    number = None
    try:
        record = Record(data, hide_utf8_warnings=True)
        number = _control(record, "001")
        book = book_of(record)
    except (PymarcException, ValueError, LookupError) as error:
        return Unread(position, reason_of(error), number)
    return Incoming(
        position=position,
        source=(source_name or _control(record, "003") or UNNAMED_SOURCE)[:64],
        control_number=number or digest_of(book),
        digest=hashlib.sha256(data).hexdigest(),
        record_format=Format.MARC,
        record=data,
        book=book,
        is_deleted=str(record.leader)[5] == "d",
    )


def digest_of(book: BookCreate) -> str:
    """The key of a record that has none of its own: the same content always gives the same."""
    return f"sha256:{hashlib.sha256(book.model_dump_json().encode()).hexdigest()}"


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


_MARC: Final = re.compile(rb"[\s\x00]*[0-9]{5}[\x20-\x7e]{7}[0-9]{5}")
