"""Reading loans: of a copy, of a reader, what is due, and when a copy may be expected back."""

from collections.abc import Collection
from datetime import datetime
from types import NoneType
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, Select, bindparam, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.direct import Direct
from app.core.functions import among, list_of
from app.core.pagination import Cursor, decode_cursor, question_of, uuid_of
from app.loans.models import Loan, LoanStatus, Scan

# A word, not a parameter: the partial indexes of open loans are taken only for what can be seen when it is planned.
IS_OPEN: Final = Loan.status == literal_column(f"'{LoanStatus.OPEN}'")
_HAS_BOOK: Final = Direct(
    select(Loan.id)
    .where(Loan.reader_id == bindparam("reader_id"), Loan.book_id == bindparam("book_id"), IS_OPEN)
    .limit(1)
)
_OF_BOOKS: Final = among(Loan.book_id, bindparam("book_ids", type_=list_of(BigInteger())))
_OUT: Final = (
    select(Loan.book_id, Loan.due_at)
    .add_columns(func.row_number().over(partition_by=Loan.book_id, order_by=Loan.due_at).label("place"))
    .where(_OF_BOOKS, Loan.status == LoanStatus.OPEN)
    .subquery()
)
_DUE_DATES: Final = Direct(
    select(_OUT).where(_OUT.c.place <= bindparam("per_book")).order_by(_OUT.c.book_id, _OUT.c.due_at)
)
_BACK: Final = (
    select(Loan.book_id, Loan.checked_out_at, Loan.returned_at)
    .add_columns(func.row_number().over(partition_by=Loan.book_id, order_by=Loan.due_at.desc()).label("place"))
    .where(_OF_BOOKS, Loan.status == LoanStatus.RETURNED)
    .subquery()
)
_RECENT_LOANS: Final = Direct(select(_BACK).where(_BACK.c.place <= bindparam("per_book")))


async def find(session: AsyncSession, loan_id: UUID) -> Loan | None:
    return await session.get(Loan, loan_id)


async def locked(session: AsyncSession, loan_id: UUID) -> Loan | None:
    """The loan with its row locked, read afresh. The caller has locked reader and book."""
    return await _one(session, select(Loan).where(Loan.id == loan_id).with_for_update(key_share=True))


async def open_of_copy(session: AsyncSession, copy_id: int) -> Loan | None:
    """The copy's open loan, locked; there is at most one."""
    statement = select(Loan).where(Loan.copy_id == copy_id, Loan.status == LoanStatus.OPEN)
    return await _one(session, statement.with_for_update(key_share=True))


async def lost_of_copy(session: AsyncSession, copy_id: int) -> Loan | None:
    """The loan in which the copy was lost last, locked."""
    statement = select(Loan).where(Loan.copy_id == copy_id, Loan.status == LoanStatus.LOST)
    return await _one(session, statement.order_by(Loan.id.desc()).limit(1).with_for_update(key_share=True))


async def debtor_of_copy(session: AsyncSession, copy_id: int) -> UUID | None:
    """The reader who has the copy on loan, or who lost it last; None also when that link has faded."""
    statement = (
        select(Loan.reader_id)
        .where(Loan.copy_id == copy_id, Loan.status != LoanStatus.RETURNED)
        .order_by(Loan.id.desc())
        .limit(1)
    )
    return await session.scalar(statement)


async def has_book(session: AsyncSession, *, reader_id: UUID, book_id: int) -> bool:
    """Whether the reader has a copy of the book on loan."""
    return await _HAS_BOOK.one(session, reader_id=reader_id, book_id=book_id) is not None


async def borrowers_of(session: AsyncSession, book_ids: Collection[int]) -> set[UUID]:
    """The readers who have a copy of one of the books on loan."""
    statement = select(Loan.reader_id).where(Loan.book_id.in_(book_ids), Loan.status == LoanStatus.OPEN)
    return {reader_id for reader_id in await session.scalars(statement) if reader_id}


async def has_reached(session: AsyncSession, *, reader_id: UUID, limit: int) -> bool:
    """Whether the reader has `limit` open loans or more; reads no more rows than that."""
    some = select(Loan.id).where(Loan.reader_id == reader_id, Loan.status == LoanStatus.OPEN).limit(limit)
    return (await session.scalar(select(func.count()).select_from(some.subquery())) or 0) >= limit


async def to_recall(session: AsyncSession, book_id: int) -> Loan | None:
    """The open loan of a book that is due last and was not recalled, locked. The caller has locked the book."""
    statement = (
        select(Loan)
        .where(Loan.book_id == book_id, Loan.status == LoanStatus.OPEN, Loan.recalled_at.is_(None))
        .order_by(Loan.due_at.desc(), Loan.id)
        .limit(1)
    )
    return await _one(session, statement.with_for_update(key_share=True))


async def due_dates(session: AsyncSession, *, book_ids: Collection[int], per_book: int) -> list[tuple[int, datetime]]:
    """When copies on loan are due, as (book id, due), the earliest first, for each book at most `per_book`."""
    found = await _DUE_DATES.all(session, book_ids=list(book_ids), per_book=per_book)
    return [(row.book_id, row.due_at) for row in found]


async def due_until(
    session: AsyncSession, *, until: datetime, after: tuple[datetime, UUID] | None, limit: int
) -> list[Loan]:
    """Open loans due by an instant, the earliest first, from behind the (due, id) named."""
    statement = select(Loan).where(Loan.status == LoanStatus.OPEN, Loan.due_at <= until)
    if after is not None:
        statement = statement.where(tuple_(Loan.due_at, Loan.id) > after)
    return list(await session.scalars(statement.order_by(Loan.due_at, Loan.id).limit(limit)))


async def recent_loans(
    session: AsyncSession, *, book_ids: Collection[int], per_book: int
) -> list[tuple[int, datetime, datetime]]:
    """The last loans that ended, as (book id, lent, returned), for each book at most `per_book`."""
    found = await _RECENT_LOANS.all(session, book_ids=list(book_ids), per_book=per_book)
    return [(row.book_id, row.checked_out_at, row.returned_at) for row in found]


async def page(
    session: AsyncSession, *, reader_id: UUID, status: str | None, cursor: str | None, limit: int
) -> tuple[list[Loan], str | None]:
    """A reader's loans, the newest first.

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("loans", reader_id, status)
    after = decode_cursor(cursor, question, key=NoneType, row_id=str)
    statement = select(Loan).where(Loan.reader_id == reader_id).order_by(Loan.id.desc()).limit(limit + 1)
    if status is not None:
        statement = statement.where(Loan.status == status)
    if after:
        statement = statement.where(Loan.id < uuid_of(after))
    found = list(await session.scalars(statement))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, str(found[limit - 1].id)).encode(question)


async def scan(session: AsyncSession, scan_id: UUID) -> Scan | None:
    statement = select(Scan).where(Scan.id == scan_id).with_for_update()
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def last_scan(session: AsyncSession, copy_id: int) -> UUID | None:
    """The id of the last scan of a copy that did something."""
    statement = select(Scan.id).where(Scan.copy_id == copy_id).order_by(Scan.id.desc()).limit(1)
    return await session.scalar(statement)


async def _one(session: AsyncSession, statement: Select[Loan]) -> Loan | None:
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()
