"""What a scan at the desk holds, finds and writes, in as few statements as that takes.

Locks are taken in the order reader, book, copy. The rules that judge by what is found stand in the service.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Integer, bindparam, func, insert, literal_column, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.models import Booking
from app.bookings.queries import IS_OPEN, IS_WAITING
from app.books import holding as books
from app.books.models import Book
from app.copies.models import Copy
from app.core.direct import Direct
from app.loans.models import Loan, LoanStatus, Scan
from app.loans.queries import IS_OPEN as LOAN_IS_OPEN
from app.users.models import User

# A word, as `IS_OPEN` is.
_RETURNED: Final[Any] = literal_column(f"'{LoanStatus.RETURNED}'")
_BOOK: Final = (Book.id.label("book_id"), Book.title, Book.merged_into_id, Book.deleted_at)
LOAN: Final = tuple(column.key for column in Loan.__table__.columns)
_SCAN_COLUMNS: Final = ("id", "kind", "copy_id", "scanned_at", "actor", "before")

_DEBTOR: Final = (
    select(Loan.reader_id)
    .where(Loan.copy_id == Copy.id, Loan.status != _RETURNED)
    .order_by(Loan.id.desc())
    .limit(1)
    .scalar_subquery()
)
_SEEN: Final = Direct(
    select(Copy.id, Copy.book_id, _DEBTOR.label("debtor_id")).where(
        Copy.barcode == bindparam("barcode"), Copy.deleted_at.is_(None)
    )
)
_CARD_AND_BOOK: Final = Direct(
    select(User.id.label("reader_id"), User.category, User.expires_on, User.blocked_reason,
           Copy.id.label("copy_id"), *_BOOK)
    .join_from(Copy, Book, Copy.book_id == Book.id)
    .join(User, User.card_number == bindparam("card_number"))
    .where(Copy.barcode == bindparam("barcode"), Copy.deleted_at.is_(None))
    .with_for_update(of=(User, Book), key_share=True)
)  # fmt: skip
_READER_AND_BOOK: Final = Direct(
    select(User.id.label("reader_id"), *_BOOK)
    .join_from(User, Book, true())
    .where(User.id == bindparam("reader_id"), Book.id == bindparam("book_id"))
    .with_for_update(of=(User, Book), key_share=True)
)
_COPY: Final = Direct(select(Copy).where(Copy.id == bindparam("copy_id")).with_for_update(key_share=True))
_PROMISED: Final = select(Booking.id).where(Booking.copy_id == bindparam("copy_id")).scalar_subquery()
_SOME_LOANS: Final = (
    select(Loan.id)
    .where(Loan.reader_id == bindparam("reader_id"), LOAN_IS_OPEN)
    .limit(bindparam("limit", type_=Integer))
    .subquery()
)
_BEFORE_LENDING: Final = Direct(
    select(
        select(func.count()).select_from(_SOME_LOANS).scalar_subquery().label("loans"),
        select(Booking.id)
        .where(Booking.reader_id == bindparam("reader_id"), Booking.book_id == bindparam("book_id"), IS_OPEN)
        .scalar_subquery()
        .label("own_booking_id"),
        _PROMISED.label("promised_booking_id"),
    )
)
_BEFORE_RETURNING: Final = Direct(
    select(
        *Loan.__table__.columns,
        _PROMISED.label("promised_booking_id"),
        select(Booking.id)
        .where(Booking.book_id == Loan.book_id, IS_WAITING)
        .limit(1)
        .scalar_subquery()
        .label("waiting_booking_id"),
    ).where(Loan.copy_id == bindparam("copy_id"), LOAN_IS_OPEN)
)
_OPEN_LOAN: Final = Direct(insert(Loan), columns=LOAN)
_END_LOAN: Final = Direct(
    update(Loan)
    .where(Loan.id == bindparam("loan_id"), LOAN_IS_OPEN)
    .values(status=LoanStatus.RETURNED, returned_at=bindparam("now"))
)
_PLACE_COPY: Final = Direct(
    update(Copy)
    .where(Copy.id == bindparam("copy_id"))
    .values(status=bindparam("now_status"), at_branch_id=bindparam("now_at"), transit_to_id=bindparam("now_to"))
)
_KEEP_SCAN: Final = Direct(insert(Scan), columns=_SCAN_COLUMNS)


async def seen(session: AsyncSession, barcode: str) -> Any:
    """A copy's `id`, `book_id` and `debtor_id` (who has it on loan, or lost it last), only looking; None without."""
    return await _SEEN.one(session, barcode=barcode)


async def card_and_book(session: AsyncSession, *, card_number: str, barcode: str) -> Any:
    """The reader with this card and the book of the copy with this barcode, locked in this order; None without both.

    Raises:
        BookGone, BookMerged.
    """
    merged_id = None
    while True:
        found = await _CARD_AND_BOOK.one(session, card_number=card_number, barcode=barcode)
        # A merge has moved the copy while we waited; its book is another one now.
        if found is None or found.merged_into_id is None or found.book_id == merged_id:
            return found and books.present(found)
        merged_id = found.book_id


async def reader_and_book(session: AsyncSession, *, reader_id: UUID, book_id: int) -> Any:
    """The reader and the book, locked in this order, whatever became of the book; None if the reader is gone."""
    return await _READER_AND_BOOK.one(session, reader_id=reader_id, book_id=book_id)


async def copy(session: AsyncSession, copy_id: int) -> Any:
    """A copy's columns, locked. The caller has locked its book."""
    return await _COPY.one(session, copy_id=copy_id)


async def before_lending(session: AsyncSession, *, reader_id: UUID, book_id: int, copy_id: int, limit: int) -> Any:
    """`loans` that the reader has (no more than `limit` are counted), his `own_booking_id` for the book, and the
    `promised_booking_id` of the copy. The caller has locked the three.
    """
    return await _BEFORE_LENDING.one(session, reader_id=reader_id, book_id=book_id, copy_id=copy_id, limit=limit)


async def before_returning(session: AsyncSession, copy_id: int) -> Any:
    """The columns of the copy's open loan, the `promised_booking_id` of the copy, and a `waiting_booking_id` if anybody
    waits for the book; None if the copy has no open loan. The caller has locked reader, book and copy.
    """
    return await _BEFORE_RETURNING.one(session, copy_id=copy_id)


async def open_loan(session: AsyncSession, loan: Loan) -> None:
    """Write a new loan. The object doesn't become the session's."""
    await _OPEN_LOAN.write(session, **{name: getattr(loan, name) for name in LOAN})


async def end_loan(session: AsyncSession, *, loan_id: UUID, now: datetime) -> None:
    """Write that an open loan is returned."""
    await _END_LOAN.write(session, loan_id=loan_id, now=now)


async def place_copy(session: AsyncSession, copy: Copy) -> None:
    """Write a copy's status and place. The object needn't be the session's."""
    await _PLACE_COPY.write(
        session, copy_id=copy.id, now_status=copy.status, now_at=copy.at_branch_id, now_to=copy.transit_to_id
    )


async def keep_scan(session: AsyncSession, **columns: Any) -> None:
    """Write a scan."""
    await _KEEP_SCAN.write(session, **columns)
