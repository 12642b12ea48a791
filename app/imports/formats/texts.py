"""CSV and JSON lines: records in lines of text, UTF-8 only, one bad line costing none of its neighbours."""

import csv
import json
from collections.abc import Iterator
from typing import Any, Final

from app.imports.formats.flat import BOOK_COLUMNS, COLUMNS, KEY_COLUMNS, members_of
from app.imports.opening import Source, UnusableFile

MAX_LINE_BYTES: Final = 1_000_000
CHUNK_BYTES: Final = 1 << 16
MAX_CELL_CHARACTERS: Final = 200_000
BOM: Final = b"\xef\xbb\xbf"
_OTHER_NAMES: Final = {
    "author": "contributors",
    "authors": "contributors",
    "isbn": "identifiers",
    "language": "languages",
}


class NoTitleColumn(UnusableFile):
    code, detail = "no_title_column", "{name} is no table of books: its first line names no column 'title'."


class UnknownColumns(UnusableFile):
    code, detail = "unknown_columns", "{name} has columns that mean nothing here: {columns}. Known are: {known}."


class BadLine(ValueError):
    """A line that can't be read; the message says why."""


Flat = tuple[dict[str, Any], list[dict[str, Any]]]
"""Members of a book with `id` and `source`, and of its copies."""


def json_lines(source: Source) -> Iterator[Flat | BadLine]:
    """Each line's record, or what is wrong with it."""
    for line in lines(source):
        if isinstance(line, BadLine):
            yield line
        elif line.strip():
            yield _parsed(line)


def table(source: Source) -> Iterator[Flat | BadLine]:
    """Each row's record, or what is wrong with it.

    Raises:
        NoTitleColumn, UnknownColumns.
    """
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    text = (
        f"{_BROKEN}\n" if isinstance(line, BadLine) else line.decode("utf-8", "surrogateescape")
        for line in lines(source)
    )
    head = next(text, "")
    delimiter = max(",;\t", key=head.count)
    names = [
        _OTHER_NAMES.get(name.strip().lower(), name.strip().lower())
        for name in next(csv.reader([head], delimiter=delimiter), [])
    ]
    if "title" not in names:
        raise NoTitleColumn(name=source.name)
    if unknown := sorted(set(names) - set(COLUMNS)):
        raise UnknownColumns(name=source.name, columns=", ".join(unknown)[:200], known=", ".join(COLUMNS))
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadLine(f"line {rows.line_num + 1}: {error}")
            continue
        if any(row):
            yield _row(names, row)


def lines(source: Source) -> Iterator[bytes | BadLine]:
    """Lines with their line feeds, none longer than a megabyte; a longer one is told and passed over."""
    buffer = source.read(CHUNK_BYTES).removeprefix(BOM)
    is_skipping = False
    while buffer:
        *complete, rest = buffer.split(b"\n")
        for line in complete:
            if not is_skipping:
                yield line + b"\n"
            is_skipping = False
        if len(rest) > MAX_LINE_BYTES:
            if not is_skipping:
                yield BadLine(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
            rest, is_skipping = b"", True
        chunk = source.read(CHUNK_BYTES)
        if not chunk and rest and not is_skipping:
            yield rest
        buffer = rest + chunk if chunk else b""


def _parsed(line: bytes) -> Flat | BadLine:
    try:
        members = json.loads(line.decode())
    except UnicodeDecodeError:
        return BadLine("the line is not UTF-8")
    except (ValueError, RecursionError) as error:
        return BadLine(f"the line is no JSON: {error}"[:200])
    if not isinstance(members, dict):
        return BadLine("the line is no JSON object")
    copies = members.pop("copies", [])
    if not isinstance(copies, list) or not all(isinstance(copy, dict) for copy in copies):
        return BadLine("copies: is no list of objects")
    return members, copies


def _row(names: list[str], row: list[str]) -> Flat | BadLine:
    if any(_SURROGATES.intersection(cell) for cell in row):
        return BadLine("the row is not UTF-8; save the table as 'CSV UTF-8'")
    if any(_BROKEN in cell for cell in row):
        return BadLine(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
    if len(row) != len(names):
        return BadLine(f"the row has {len(row)} cells, the first line names {len(names)} columns")
    cells: dict[str, str] = {}
    for name, cell in zip(names, row, strict=True):
        if cell:
            cells[name] = f"{cells[name]}|{cell}" if name in cells and name in BOOK_COLUMNS else cell
    try:
        book, copies = members_of(cells)
    except ValueError as error:
        return BadLine(str(error))
    return {**{name: cells[name] for name in KEY_COLUMNS if name in cells}, **book}, copies


_BROKEN: Final = "\udfff\udffe"
_SURROGATES: Final = frozenset(map(chr, range(0xDC80, 0xDD00)))
