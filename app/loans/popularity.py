"""Popularity: how often a book was lent in the last year, counted by the clock and not at each loan."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.books.models import CATALOGUE, Book
from app.core.db import raise_generation
from app.loans.models import Loan

COUNTED: Final = timedelta(days=365)


async def changes(session: AsyncSession, *, now: datetime) -> list[tuple[int, int]]:
    """Books whose popularity is no longer true, as (book id, loans in the last year). Reads that year's loans once."""
    lent = (
        select(Loan.book_id, func.count().label("times"))
        .where(Loan.checked_out_at > now - COUNTED)
        .group_by(Loan.book_id)
        .subquery()
    )
    times = func.coalesce(lent.c.times, 0)
    statement = select(Book.id, times).outerjoin(lent, lent.c.book_id == Book.id).where(Book.popularity != times)
    return [(row[0], row[1]) for row in await session.execute(statement.order_by(Book.id))]


async def note(session: AsyncSession, counted: list[tuple[int, int]]) -> int:
    """Write what was counted, but not to books that somebody holds just now (the next run comes to them); how many.

    A book's version and its stored document stay: popularity is no part of either.
    """
    ids = [book_id for book_id, _ in counted]
    free = set(await session.scalars(select(Book.id).where(Book.id.in_(ids)).with_for_update(skip_locked=True)))
    rows = [{"book": book_id, "times": times} for book_id, times in counted if book_id in free]
    if rows:
        books = Book.__table__
        statement = update(books).where(books.c.id == bindparam("book")).values(popularity=bindparam("times"))  # type: ignore[arg-type]  # a mapped table is a Table
        await (await session.connection()).execute(statement, rows)
        raise_generation(session, CATALOGUE)
    return len(rows)
