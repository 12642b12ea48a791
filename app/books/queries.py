"""Reading books: one by id, pages by keyset, suggestions; cost follows the page, never the library."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import replace
from types import NoneType
from typing import Final

from sqlalchemy import BigInteger, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import identifiers, paging
from app.books.models import AccessPoint, Book
from app.books.paging import Page, Row
from app.books.schemas import BookQuery, Facet
from app.books.search import asking, finding, index, spelling
from app.books.search.asking import Query
from app.books.search.finding import Conditions
from app.core.direct import Direct
from app.core.errors import BadRequest
from app.core.functions import among, list_of, listed
from app.core.pagination import Cursor, decode_cursor

MAX_SUGGESTIONS = 10
MAX_FACETS = 20
MAX_COUNTED = finding.MAX_RESULTS
MORE_THAN_RANKED = "Only the best 1,000 results are shown; add a word or a filter to narrow them."


_TITLES: Final = Direct(
    select(Book.id, Book.title).where(among(Book.id, bindparam("book_ids", type_=list_of(BigInteger()))))
)


class NothingToSearch(BadRequest):
    code, detail = "nothing_to_search", "The query holds no word or number to search by."


async def find(session: AsyncSession, book_id: int) -> Book | None:
    return await session.get(Book, book_id)


async def page(session: AsyncSession, query: BookQuery, *, where: Conditions = ()) -> Page:
    """One page of what is asked. `where` holds conditions of features above (available, …).

    Where nothing is found, a query that differs by one letter is answered instead, and told.

    Raises:
        InvalidCursor, StaleCursor: the cursor is forged or belongs to another question.
        NothingToSearch: `q` has no word in it.
    """
    asked = _asked(query)
    conditions = [*paging.conditions(query), *where]
    await finding.plan_each(session)
    if asked is not None and query.sort in {None, "relevance"}:
        return await _by_relevance(session, query, asked, conditions)
    instead = None
    if asked is not None and not await finding.candidates(session, asked, where=conditions, exactly=False, limit=1):
        instead = await spelling.corrected(session, asked, where=conditions)
    found = await _by_order(session, query, instead or asked, conditions)
    return replace(found, corrected=instead.text if instead else None)


async def found_ids(session: AsyncSession, query: BookQuery, *, where: Conditions = ()) -> list[int]:
    """The books asked for, at most 1,000: the best with `q`, the newest without.

    Raises:
        NothingToSearch.
    """
    asked = _asked(query)
    conditions = [*paging.conditions(query), *where]
    await finding.plan_each(session)
    if asked is None:
        newest = select(Book.id).where(*conditions).order_by(Book.id.desc()).limit(finding.MAX_RESULTS)
        return list(await session.scalars(newest))
    best, _ = await _ranked(session, asked, conditions)
    return [book_id for _, book_id in best]


async def facets(session: AsyncSession, book_ids: Sequence[int]) -> dict[str, list[Facet]]:
    """The languages, authors, subjects and years that these books have in common."""
    number = func.count()
    kind, key = AccessPoint.kind, AccessPoint.key
    place = func.row_number().over(partition_by=kind, order_by=(number.desc(), key)).label("place")
    counted = (
        select(kind, func.min(AccessPoint.label).label("label"), number.label("number"), place)
        .where(among(AccessPoint.book_id, listed(book_ids)), kind.in_(_FACETS))
        .group_by(kind, key)
        .subquery()
    )
    most = select(counted).where(counted.c.place <= MAX_FACETS).order_by(counted.c.place)
    found: dict[str, list[Facet]] = {name: [] for name in _FACETS.values()}
    for row in await session.execute(most):
        found[_FACETS[row.kind]].append(Facet(value=row.label, label=row.label, count=row.number))
    years = (
        select(Book.year, number)
        .where(among(Book.id, listed(book_ids)), Book.year.is_not(None))
        .group_by(Book.year)
        .order_by(number.desc(), Book.year.desc())
        .limit(MAX_FACETS)
    )
    of_years = [Facet(value=str(year), label=str(year), count=count) for year, count in await session.execute(years)]
    return {**found, "year": of_years}


async def _ranked(
    session: AsyncSession, asked: Query, conditions: Conditions
) -> tuple[list[tuple[int, int]], Query | None]:
    """The best books; if there are none, those of a query that differs by a letter, and that query."""
    best = await finding.ranked(session, asked, where=conditions)
    if best or (instead := await spelling.corrected(session, asked, where=conditions)) is None:
        return best, None
    return await finding.ranked(session, instead, where=conditions), instead


async def _by_relevance(session: AsyncSession, query: BookQuery, asked: Query, conditions: Conditions) -> Page:
    question = paging.question(query)
    cursor = decode_cursor(query.cursor, question, key=int)
    best, instead = await _ranked(session, asked, conditions)
    corrected = instead.text if instead else None
    start = bisect_right(best, (-int(cursor.key or 0), -int(cursor.id)), key=_descending) if cursor else 0
    wanted = best[start : start + query.limit]
    statement = select(Book.id, Book.version, Book.document)
    found = await session.execute(statement.where(Book.id.in_([book_id for _, book_id in wanted])))
    rows = {row.id: Row(row.id, row.version, row.document) for row in found}
    ordered = [rows[book_id] for _, book_id in wanted if book_id in rows]
    ids = [book_id for _, book_id in best]
    if start + query.limit < len(best):
        return Page(ordered, Cursor(*wanted[-1]).encode(question), corrected, ranked=ids)
    hint = MORE_THAN_RANKED if len(best) == finding.MAX_RESULTS else None
    return Page(ordered, None, corrected, hint, ranked=ids)


def _descending(ranked: tuple[int, int]) -> tuple[int, int]:
    return -ranked[0], -ranked[1]


async def _by_order(session: AsyncSession, query: BookQuery, asked: Query | None, conditions: Conditions) -> Page:
    """By title, newness or popularity, without end."""
    question = paging.question(query)
    _, key_type = paging.ORDERS.get(query.sort or "newest", (None, NoneType))
    cursor = decode_cursor(query.cursor, question, key=key_type)
    statement = paging.rows_in(query.sort).where(*conditions)
    if asked is not None:
        statement = statement.join(index.table_of(session), index.book_id(session) == Book.id)
        statement = statement.where(index.holds(session, asked, exactly=False))
    statement = paging.ordered(statement, query.sort, cursor).limit(query.limit + 1)
    return paging.page_of((await session.execute(statement)).all(), query.limit, question)


async def titles(session: AsyncSession, book_ids: Collection[int]) -> dict[int, str]:
    """The titles of some books, removed ones too."""
    return {row.id: row.title for row in await _TITLES.all(session, book_ids=list(book_ids))}


async def suggest(session: AsyncSession, typed: str) -> list[tuple[int, str]]:
    """Up to ten visible books as (id, title): first titles that begin so, then books whose words do."""
    asked = asking.read(typed)
    if asked is None:
        return []
    visible = [Book.deleted_at.is_(None), Book.suppressed.is_(False)]
    ids = await finding.beginning_with(session, asked, where=visible, limit=MAX_SUGGESTIONS)
    if len(ids) < MAX_SUGGESTIONS:
        more = await finding.candidates(session, asked, where=visible, exactly=False, limit=2 * MAX_SUGGESTIONS)
        ids = list(dict.fromkeys([*ids, *more]))[:MAX_SUGGESTIONS]
    found = await session.execute(select(Book.id, Book.title).where(Book.id.in_(ids)))
    titles = {row.id: row.title for row in found}
    return [(book_id, titles[book_id]) for book_id in ids if book_id in titles]


async def present(session: AsyncSession, book_ids: Collection[int]) -> Sequence[Book]:
    """Those of these books that are there."""
    statement = select(Book).where(Book.id.in_(book_ids), Book.deleted_at.is_(None)).order_by(Book.id)
    return (await session.scalars(statement)).all()


async def present_after(session: AsyncSession, *, after_id: int, limit: int) -> Sequence[Book]:
    """The next books by id that were not removed."""
    statement = select(Book).where(Book.id > after_id, Book.deleted_at.is_(None)).order_by(Book.id).limit(limit)
    return (await session.scalars(statement)).all()


async def holders(session: AsyncSession, kind: str, keys: Collection[str]) -> dict[str, list[int]]:
    """The books that have each of these access points and were not removed."""
    if not keys:
        return {}
    statement = (
        select(AccessPoint.key, AccessPoint.book_id)
        .join(Book, Book.id == AccessPoint.book_id)
        .where(AccessPoint.kind == kind, AccessPoint.key.in_(keys), Book.deleted_at.is_(None))
    )
    found: dict[str, list[int]] = {}
    for key, book_id in await session.execute(statement):
        found.setdefault(key, []).append(book_id)
    return found


def _asked(query: BookQuery) -> Query | None:
    if query.q is None:
        return None
    asked = asking.read(query.q)
    if asked is None:
        raise NothingToSearch
    isbn = identifiers.isbn_in(query.q)
    return (asking.number(isbn) if isbn else asked).in_language(query.language)


async def after(session: AsyncSession, *, after_id: int, limit: int) -> Sequence[Book]:
    """The next books by id, locked, removed ones too."""
    statement = select(Book).where(Book.id > after_id).order_by(Book.id).limit(limit)
    return (await session.scalars(statement.with_for_update(key_share=True))).all()


async def last_id(session: AsyncSession) -> int:
    """The highest id given so far to a book that is stored; 0 without any."""
    return await session.scalar(select(func.max(Book.id))) or 0


_FACETS: Final = {"language": "language", "author": "author", "topic": "subject"}
