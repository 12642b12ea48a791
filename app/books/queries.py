"""Reading books: one by id, pages by keyset, suggestions; cost follows the page, never the library."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import NoneType

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import identifiers, search
from app.books.models import AccessPoint, Book, SourceRecord
from app.books.schemas import BookQuery
from app.core.errors import BadRequest
from app.core.pagination import Cursor, decode_cursor, question_of

MAX_SUGGESTIONS = 10


class NothingToSearch(BadRequest):
    code, detail = "nothing_to_search", "The query holds no word or number to search by."


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


async def find(session: AsyncSession, book_id: int) -> Book | None:
    return await session.get(Book, book_id)


async def locked(session: AsyncSession, book_id: int) -> Book | None:
    """The book with its row locked, read afresh."""
    statement = select(Book).where(Book.id == book_id).with_for_update(key_share=True)
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def shared(session: AsyncSession, book_id: int) -> Book | None:
    """The book, with a lock that others may share but that no merge and no removal passes."""
    statement = select(Book).where(Book.id == book_id).with_for_update(read=True, key_share=True)
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def locked_pair(session: AsyncSession, first_id: int, second_id: int) -> dict[int, Book]:
    """Two books, locked against everybody, the lower id first."""
    statement = select(Book).where(Book.id.in_((first_id, second_id))).order_by(Book.id).with_for_update()
    return {book.id: book for book in await session.scalars(statement, execution_options={"populate_existing": True})}


async def page(
    session: AsyncSession, query: BookQuery, *, where: Sequence[ColumnElement[bool]] = ()
) -> tuple[list[Row], str | None]:
    """One page and the cursor of the next. `where` holds conditions of features above (available, …).

    Raises:
        InvalidCursor, StaleCursor: the cursor is forged or belongs to another question.
        NothingToSearch: `q` has no word in it.
    """
    question = question_of(query.model_dump(exclude={"cursor", "limit", "include"}))
    key = str if query.sort == "title" else NoneType
    cursor = decode_cursor(query.cursor, question, key=key)
    statement = select(Book.id, Book.version, Book.document, Book.title_key).where(
        Book.deleted_at.is_(None), *_conditions(session, query), *where
    )
    statement = _ordered(statement, query.sort, cursor).limit(query.limit + 1)
    found = (await session.execute(statement)).all()
    rows = [Row(row.id, row.version, row.document) for row in found[: query.limit]]
    if len(found) <= query.limit:
        return rows, None
    last = found[query.limit - 1]
    return rows, Cursor(last.title_key if query.sort == "title" else None, last.id).encode(question)


async def titles(session: AsyncSession, book_ids: Collection[int]) -> dict[int, str]:
    """The titles of some books, removed ones too."""
    found = await session.execute(select(Book.id, Book.title).where(Book.id.in_(book_ids)))
    return {row.id: row.title for row in found}


async def suggest(session: AsyncSession, prefix: str) -> list[tuple[int, str]]:
    """Up to ten visible books whose words begin so, as (id, title)."""
    condition = search.matching(prefix, is_sqlite=_is_sqlite(session))
    if condition is None:
        return []
    statement = select(Book.id, Book.title).where(condition, Book.deleted_at.is_(None), Book.suppressed.is_(False))
    found = await session.execute(statement.order_by(Book.id.desc()).limit(MAX_SUGGESTIONS))
    return [(row.id, row.title) for row in found]


async def source_record(session: AsyncSession, source: str, control_number: str) -> SourceRecord | None:
    statement = select(SourceRecord).where(SourceRecord.source == source, SourceRecord.control_number == control_number)
    return (await session.scalars(statement)).one_or_none()


def _conditions(session: AsyncSession, query: BookQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Book.suppressed.is_(bool(query.suppressed))]
    if query.q is not None:
        isbn = identifiers.isbn_in(query.q)
        matching = search.matching(query.q, is_sqlite=_is_sqlite(session))
        if matching is None:
            raise NothingToSearch
        conditions.append(or_(_has("isbn", isbn), matching) if isbn else matching)
    for kind, value in (("author", query.author), ("subject", query.subject), ("language", query.language)):
        if value is not None:
            conditions.append(_has(kind, search.key(value)))
    if query.year_from is not None:
        conditions.append(Book.year >= query.year_from)
    if query.year_to is not None:
        conditions.append(Book.year <= query.year_to)
    return conditions


def _has(kind: str, value: str) -> ColumnElement[bool]:
    return exists().where(AccessPoint.kind == kind, AccessPoint.key == value, AccessPoint.book_id == Book.id)


def _ordered(statement: Select[int, int, str, str], sort: str, cursor: Cursor | None) -> Select[int, int, str, str]:
    if sort == "title":
        if cursor:
            statement = statement.where(tuple_(Book.title_key, Book.id) > (cursor.key, cursor.id))
        return statement.order_by(Book.title_key, Book.id)
    if cursor:
        statement = statement.where(Book.id < cursor.id)
    return statement.order_by(Book.id.desc())


def _is_sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"


async def after(session: AsyncSession, *, after_id: int, limit: int) -> Sequence[Book]:
    """The next books by id, removed ones too, locked: whoever rewrites them must not undo a change made meanwhile."""
    statement = select(Book).where(Book.id > after_id).order_by(Book.id).limit(limit).with_for_update(key_share=True)
    return (await session.scalars(statement)).all()


async def last_id(session: AsyncSession) -> int:
    """The highest id given so far to a book that is stored; 0 without any."""
    return await session.scalar(select(func.max(Book.id))) or 0
