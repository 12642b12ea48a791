"""Pages of books by keyset: the orders, the filters of one table, and how rows become a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, Select, Tuple, exists, literal, null, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.books import search
from app.books.models import AccessPoint, Book
from app.books.schemas import BookQuery
from app.core.pagination import Cursor, question_of

ORDERS: Final[dict[str, tuple[InstrumentedAttribute[Any], type]]] = {
    "title": (Book.title_key, str),
    "popularity": (Book.popularity, int),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What a page needs of a book: the stored document and the two members that stand outside it."""

    id: int
    version: int
    document: str

    def json(self, **extra: str) -> str:
        """The book's public JSON; `extra` members are given as JSON texts."""
        members = "".join(f',"{name}":{value}' for name, value in extra.items())
        return f'{{"id":{self.id},"version":{self.version},{self.document[1:-1]}{members}}}'


@dataclass(frozen=True, slots=True)
class Page:
    """One page, the cursor of the next, the query that was answered instead, why there is no further page.

    `ranked` holds the ids of all that was found, the best first, where the order is by relevance.
    """

    rows: list[Row]
    next: str | None
    corrected: str | None = None
    hint: str | None = None
    ranked: list[int] | None = None


def rows_in(sort: str | None) -> Select[Any]:
    column, _ = ORDERS.get(sort or "newest", (None, NoneType))
    key = null().label("key") if column is None else column.label("key")
    return select(Book.id, Book.version, Book.document, key)


def page_of(found: Sequence[Any], limit: int, question: str) -> Page:
    """A page of rows (id, version, document, key), of which one more than `limit` was asked for."""
    rows = [Row(book_id, version, document) for book_id, version, document, _ in found[:limit]]
    if len(found) <= limit:
        return Page(rows, None)
    book_id, _, _, key = found[limit - 1]
    return Page(rows, Cursor(key, book_id).encode(question))


def ordered(statement: Select[Any], sort: str | None, cursor: Cursor | None) -> Select[Any]:
    if sort == "title":
        if cursor:
            statement = statement.where(tuple_(Book.title_key, Book.id) > _place(Book.title_key, cursor))
        return statement.order_by(Book.title_key, Book.id)
    if sort == "popularity":
        if cursor:
            statement = statement.where(tuple_(Book.popularity, Book.id) < _place(Book.popularity, cursor))
        return statement.order_by(Book.popularity.desc(), Book.id.desc())
    if cursor:
        statement = statement.where(Book.id < cursor.id)
    return statement.order_by(Book.id.desc())


def _place(column: InstrumentedAttribute[Any], cursor: Cursor) -> Tuple:
    """Where the last page ended; a parameter that is given later stays one."""
    wanted: tuple[tuple[Any, Any], ...] = ((cursor.key, column.type), (cursor.id, Book.id.type))
    return tuple_(*(each if isinstance(each, BindParameter) else literal(each, kind) for each, kind in wanted))


def question(query: BookQuery) -> str:
    return question_of(query.model_dump(exclude={"cursor", "limit", "include"}))


def conditions(query: BookQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Book.deleted_at.is_(None), Book.suppressed.is_(bool(query.suppressed))]
    filters = (
        (("author", "name"), query.author),
        (("subject", "topic"), query.subject),
        (("language",), query.language),
    )
    conditions += [_has(kinds, search.key(value)) for kinds, value in filters if value is not None]
    if query.year_from is not None:
        conditions.append(Book.year >= query.year_from)
    if query.year_to is not None:
        conditions.append(Book.year <= query.year_to)
    return conditions


def _has(kinds: Sequence[str], value: str) -> ColumnElement[bool]:
    return exists().where(AccessPoint.kind.in_(kinds), AccessPoint.key == value, AccessPoint.book_id == Book.id)
