"""Flat records: a book and its copies as JSON members or as cells of a table, exact in both directions.

In a cell several values are parted by `|`, and a kind stands before its value as in `author=Herbert, Frank`; `|`, `=`
and the backslash inside a value follow a backslash.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.books.schemas import BookCreate
from app.copies.schemas import CopyCreate
from app.imports.formats.holdings import COLUMNS as COPY_COLUMNS

KEY_COLUMNS: Final = ("id", "source")
BOOK_COLUMNS: Final = tuple(BookCreate.model_fields)
COLUMNS: Final = (*KEY_COLUMNS, *sorted(BOOK_COLUMNS, key=lambda name: name != "title"), *COPY_COLUMNS)
LISTS: Final = frozenset({"alternative_titles", "languages", "series", "subjects"})
# Lists whose items have a kind: the members of kind and value, and the kind where none is written.
PAIRS: Final = {
    "contributors": ("role", "name", "author"),
    "identifiers": ("type", "value", "isbn"),
    "classifications": ("scheme", "value", "other"),
    "original_script": ("field", "value", "title"),
}
NUMBERS: Final = frozenset({"year", "price_minor"})


class NotACell(ValueError):
    """A cell can't be read; the message says which and why."""


def cells_of(book: BookCreate, copies: Sequence[CopyCreate]) -> dict[str, str]:
    """Every column of the book but its key."""
    cells = {name: _cell(name, value) for name, value in book.model_dump().items()}
    for name in COPY_COLUMNS:
        values = [getattr(copy, name) for copy in copies]
        cells[name] = "|".join("" if value is None else _escaped(str(value)) for value in values)
    return cells


def members_of(cells: Mapping[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The members of a book and of its copies; empty cells are left out.

    Raises:
        NotACell.
    """
    book = {name: _value(name, cells[name]) for name in BOOK_COLUMNS if cells.get(name, "") != ""}
    columns = {name: split(cells[name]) for name in COPY_COLUMNS if cells.get(name, "") != ""}
    barcodes = columns.get("barcode", [])
    if any(len(values) > len(barcodes) for values in columns.values()):
        raise NotACell("barcode: there are fewer barcodes than other parts of copies")
    copies = [
        {
            name: _number(name, values[place]) if name in NUMBERS else values[place]
            for name, values in columns.items()
            if place < len(values) and values[place]
        }
        for place in range(len(barcodes))
    ]
    return book, [copy for copy in copies if copy.get("barcode")]


def split(cell: str, mark: str = "|", *, times: int = 0) -> list[str]:
    """The parts of a cell between marks that follow no backslash, with their backslashes taken away."""
    parts: list[str] = []
    start = 0
    for found in _MARK.finditer(cell):
        if found.group() == mark and (not times or len(parts) < times):
            parts.append(cell[start : found.start()])
            start = found.end()
    parts.append(cell[start:])
    return [_BACKSLASH.sub(r"\1", part).strip() for part in parts]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in PAIRS:
        kind, content, _ = PAIRS[name]
        return "|".join(f"{_escaped(item[kind])}={_escaped(item[content])}" for item in value)
    if name in LISTS:
        return "|".join(map(_escaped, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(name: str, cell: str) -> Any:
    if name in PAIRS:
        return [_pair(name, item) for item in _raw_parts(cell)]
    if name in LISTS:
        return [item for item in split(cell) if item]
    if name in NUMBERS:
        return _number(name, cell)
    if name == "suppressed":
        if cell.strip().lower() not in _BOOLEANS:
            raise NotACell(f"suppressed: '{cell[:20]}' is neither true nor false")
        return _BOOLEANS[cell.strip().lower()]
    return cell


def _raw_parts(cell: str) -> Iterable[str]:
    start = 0
    for found in _MARK.finditer(cell):
        if found.group() == "|":
            yield cell[start : found.start()]
            start = found.end()
    yield cell[start:]


def _pair(name: str, item: str) -> dict[str, str]:
    kind, content, default = PAIRS[name]
    parts = split(item, "=", times=1)
    return {kind: parts[0], content: parts[1]} if len(parts) > 1 else {kind: default, content: parts[0]}


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise NotACell(f"{name}: '{text[:20]}' is no number") from None


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


_MARK: Final = re.compile(r"\\.|[|=]", re.DOTALL)
_BACKSLASH: Final = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL: Final = re.compile(r"[\\|=]")
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
