"""What the library did in a year: loans by month, what is lent most, what is overdue, what readers wait for.

Each answer is one statement and at most a dozen rows, however large the library is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from sqlalchemy import ColumnElement, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.models import Booking, BookingStatus
from app.books.models import Book
from app.copies.models import Copy
from app.copies.queries import GONE
from app.loans.models import Loan, LoanStatus

SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Counted:
    """A book and how often; `copies` are those that the library has of it."""

    book_id: int
    title: str
    number: int
    copies: int


@dataclass(frozen=True, slots=True)
class Overview:
    open: int
    overdue: int
    waiting: int
    copies: int


async def by_month(
    session: AsyncSession, *, starts: Sequence[datetime], end: datetime, branch_id: str | None
) -> list[int]:
    """Loans between each start and the next; the last month ends at `end`."""
    bounds = [*starts, end]
    columns = [
        func.coalesce(func.sum(case(((Loan.checked_out_at >= first) & (Loan.checked_out_at < last), 1), else_=0)), 0)
        for first, last in pairwise(bounds)
    ]
    statement = select(*columns).where(Loan.checked_out_at >= starts[0], _lent_at(branch_id))
    return [int(number) for number in (await session.execute(statement)).one()]


async def overview(session: AsyncSession, *, now: datetime, branch_id: str | None) -> Overview:
    late = func.coalesce(func.sum(case((Loan.due_at < now, 1), else_=0)), 0)
    lent = (
        await session.execute(
            select(func.count(), late).select_from(Loan).where(Loan.status == LoanStatus.OPEN, _lent_at(branch_id))
        )
    ).one()
    waits = select(func.count()).select_from(Booking).where(Booking.status == BookingStatus.WAITING)
    owned = select(func.count()).select_from(Copy).where(Copy.deleted_at.is_(None), Copy.status.not_in(GONE))
    if branch_id is not None:
        waits, owned = waits.where(Booking.pickup_branch_id == branch_id), owned.where(Copy.branch_id == branch_id)
    return Overview(lent[0], int(lent[1]), await session.scalar(waits) or 0, await session.scalar(owned) or 0)


async def most_lent(session: AsyncSession, *, since: datetime, branch_id: str | None) -> list[Counted]:
    number = func.count().label("number")
    top = (
        select(Loan.book_id, number)
        .where(Loan.checked_out_at >= since, _lent_at(branch_id))
        .group_by(Loan.book_id)
        .order_by(number.desc(), Loan.book_id)
        .limit(SHOWN)
    )
    return await _titled(session, [(row.book_id, row.number) for row in await session.execute(top)])


async def unfilled(session: AsyncSession, *, branch_id: str | None) -> list[Counted]:
    """Books for which readers wait, the most wanted first."""
    number = func.count().label("number")
    statement = select(Booking.book_id, number).where(Booking.status == BookingStatus.WAITING)
    if branch_id is not None:
        statement = statement.where(Booking.pickup_branch_id == branch_id)
    statement = statement.group_by(Booking.book_id).order_by(number.desc(), Booking.book_id).limit(SHOWN)
    return await _titled(session, [(row.book_id, row.number) for row in await session.execute(statement)])


async def _titled(session: AsyncSession, counted: list[tuple[int, int]]) -> list[Counted]:
    ids = [book_id for book_id, _ in counted]
    titles = {row.id: row.title for row in await session.execute(select(Book.id, Book.title).where(Book.id.in_(ids)))}
    copies = select(Copy.book_id, func.count()).where(Copy.book_id.in_(ids), Copy.deleted_at.is_(None))
    owned = {row[0]: row[1] for row in await session.execute(copies.group_by(Copy.book_id))}
    return [Counted(book_id, titles[book_id], number, owned.get(book_id, 0)) for book_id, number in counted]


def _lent_at(branch_id: str | None) -> ColumnElement[bool]:
    return true() if branch_id is None else Loan.branch_id == branch_id
