"""Finding: the books that answer a query, best first, at a cost that the page sets and not the library.

At most MAX_RESULTS books are ranked. More common queries are cut to the newest of those that match, after the books
whose title begins with the query; where even looking at all matches would cost, only the newest books are looked at.
"""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Select, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.books.models import Book
from app.books.search import index
from app.books.search.analyser import key
from app.books.search.asking import Query
from app.books.search.ranking import ALL_EXACT, score
from app.core.bulk import is_sqlite
from app.core.functions import among, listed

MAX_RESULTS: Final = 1_000
MAX_TITLES: Final = 200
# PostgreSQL: up to so many matches are fetched and sorted, at 0.7 µs each; beyond, only the newest books are looked at.
MAX_SORTED: Final = 20_000
MAX_WALKED: Final = 20_000
# Where a filter leaves few of those: so many of all that match.
MAX_TRIED: Final = 5_000
_POPULARITY_BITS: Final = 32
LAST: Final = "\U0010ffff"

Conditions = Sequence[ColumnElement[bool]]


async def ranked(session: AsyncSession, query: Query, *, where: Conditions) -> list[tuple[int, int]]:
    """Up to MAX_RESULTS books as (rank, id), best first.

    Rank holds the score and, below it, the popularity, so that one number orders both.
    """
    exact = await candidates(session, query, where=where, exactly=True)
    titles = await beginning_with(session, query, where=where, limit=MAX_TITLES)
    found = dict.fromkeys([*titles, *exact])
    if len(found) < MAX_RESULTS:
        found |= dict.fromkeys(await candidates(session, query, where=where, exactly=False))
    ids = list(found)[: MAX_RESULTS + MAX_TITLES]
    if not ids:
        return []
    points = score(query) + case((among(Book.id, listed(exact)), ALL_EXACT), else_=0)
    rows = await session.execute(select(Book.id, points, Book.popularity).where(among(Book.id, listed(ids))))
    best = sorted((((int(points) << _POPULARITY_BITS) + popularity, book_id) for book_id, points, popularity in rows))
    return best[::-1][:MAX_RESULTS]


async def candidates(
    session: AsyncSession, query: Query, *, where: Conditions, exactly: bool, limit: int = MAX_RESULTS
) -> list[int]:
    """The newest books that hold everything asked, at most `limit`."""
    book_id = index.book_id(session)
    statement = (
        select(book_id).join(Book, Book.id == book_id).where(index.holds(session, query, exactly=exactly), *where)
    )
    if is_sqlite(session):
        return list(await session.scalars(statement.order_by(book_id.desc()).limit(limit)))
    return await _unordered(session, statement, query, where, exactly=exactly, limit=limit)


async def _unordered(
    session: AsyncSession, statement: Select[int], query: Query, where: Conditions, *, exactly: bool, limit: int
) -> list[int]:
    """PostgreSQL's candidates: a GIN index gives no order, so few matches are sorted, of many the newest are.

    How many there are is the planner's guess: it knows the common words, and to count them costs half a second in a
    million books. Where it guesses too low, as many as are sorted are all that are looked at.
    """
    book_id = index.book_id(session)
    holding = select(book_id.label("id")).where(index.holds(session, query, exactly=exactly))
    if await _guessed(session, query, exactly=exactly) <= MAX_SORTED:
        await _plan(session, seqscan=False, indexscan=False)
        ids = await _listed(session, holding.limit(MAX_SORTED + 1))
        await _plan(session, seqscan=False, indexscan=True)
        if len(ids) <= MAX_SORTED:
            return await _newest(session, sorted(ids, reverse=True), where, limit)
    newest = await session.scalar(select(func.max(Book.id))) or 0
    walked = holding.where(book_id > newest - MAX_WALKED).order_by(book_id.desc())
    await _plan(session, seqscan=False, bitmapscan=False)
    ids = await _listed(session, walked.limit(limit + limit // 4))
    found = await _newest(session, ids, where, limit)
    if len(found) < limit <= len(ids):
        found = await _newest(session, await _listed(session, walked), where, limit)
    await _plan(session, seqscan=False, bitmapscan=True)
    if len(found) < limit:  # a filter leaves few: then all that match may be looked at
        found = sorted(await session.scalars(statement.limit(MAX_TRIED)), reverse=True)[:limit]
    return found


async def _guessed(session: AsyncSession, query: Query, *, exactly: bool) -> float:
    """How many books the planner expects to hold what is asked; nothing is read."""
    told = await session.scalar(index.explained(query, exactly=exactly))
    [plan] = json.loads(told) if isinstance(told, str) else told
    rows: float = plan["Plan"]["Plan Rows"]
    return rows


async def _listed(session: AsyncSession, ids: Select[int]) -> list[int]:
    """One row instead of thousands."""
    return list(await session.scalar(select(func.array_agg(ids.subquery().c.id))) or [])


async def _newest(session: AsyncSession, ids: Sequence[int], where: Conditions, limit: int) -> list[int]:
    """Those of the ids, the newest first, that fulfil the conditions; most do, so few more than are wanted are read."""
    found: list[int] = []
    enough = limit + limit // 4
    for chunk in (ids[:enough], ids[enough:]):
        if chunk and len(found) < limit:
            there = select(Book.id).where(among(Book.id, listed(chunk)), *where).order_by(Book.id.desc())
            found += await session.scalars(there.limit(limit - len(found)))
    return found


async def plan_each(session: AsyncSession) -> None:
    """Let PostgreSQL plan each question by its own values until the transaction ends.

    After five of a kind it would go on with one plan for all, made for no value in particular and for tables as they
    were then: such a plan took 3 s for a search with four filters, where 8 ms are right, and read all kept records for
    each batch of an import.
    """
    if not is_sqlite(session):
        await session.execute(text("SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"))


async def plan_once(session: AsyncSession) -> None:
    """Undo `plan_each`, before rows are written: it also plans anew each check of a foreign key, row by row."""
    if not is_sqlite(session):
        await session.execute(text("SELECT set_config('plan_cache_mode', 'auto', true)"))


async def _plan(session: AsyncSession, **methods: bool) -> None:
    """Allow or forbid the planner's methods until the transaction ends; misjudging one word costs a whole scan."""
    said = (
        f"set_config('enable_{name}', '{'on' if is_allowed else 'off'}', true)" for name, is_allowed in methods.items()
    )
    await session.execute(text(f"SELECT {', '.join(said)}"))


async def beginning_with(session: AsyncSession, query: Query, *, where: Conditions, limit: int) -> list[int]:
    """Books whose title begins with the words asked, found by the order of titles; with its article or without."""
    if any(clause.is_quoted for clause in query.clauses):
        return []
    first = key(" ".join(query.filed))
    statement = select(Book.id).where(Book.title_key >= first, Book.title_key < first + LAST, *where)
    return list(await session.scalars(statement.order_by(Book.title_key, Book.id).limit(limit)))
