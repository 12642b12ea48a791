"""Reading bookings: the queue of a book, a reader's bookings, the pull list and the hold shelf."""

from collections.abc import Collection
from datetime import date, datetime
from types import NoneType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, Uuid, and_, bindparam, func, literal_column, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.bookings.models import OPEN, Booking, BookingStatus
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.direct import Direct
from app.core.functions import among, list_of
from app.core.pagination import Cursor, decode_cursor, question_of, uuid_of
from app.users.models import User

# Words, not parameters: SQLite plans before it knows a parameter, and takes a partial index only for what it can see.
_WAITING: Final[Any] = literal_column(f"'{BookingStatus.WAITING}'")
IS_WAITING: Final = Booking.status == _WAITING
IS_OPEN: Final = Booking.status.in_([literal_column(f"'{status}'") for status in OPEN])

_BEFORE: Final = aliased(Booking)
_AHEAD: Final = Direct(
    select(
        Booking.id,
        func.count(_BEFORE.id).label("ahead"),
        func.count(_BEFORE.id).filter(_BEFORE.priority < Booking.priority).label("preferred"),
    )
    .outerjoin(
        _BEFORE,
        and_(
            _BEFORE.book_id == Booking.book_id,
            _BEFORE.status == _WAITING,
            tuple_(_BEFORE.priority, _BEFORE.placed_at, _BEFORE.id)
            < tuple_(Booking.priority, Booking.placed_at, Booking.id),
        ),
    )
    .where(among(Booking.id, bindparam("ids", type_=list_of(Uuid(as_uuid=False)))))
    .group_by(Booking.id)
)


async def find(session: AsyncSession, booking_id: UUID) -> Booking | None:
    return await session.get(Booking, booking_id)


async def locked(session: AsyncSession, booking_id: UUID) -> Booking | None:
    """The booking with its row locked, read afresh. The caller has locked the book."""
    return await _one(session, select(Booking).where(Booking.id == booking_id).with_for_update(key_share=True))


async def open_of(session: AsyncSession, *, reader_id: UUID, book_id: int) -> Booking | None:
    """The reader's open booking for the book; there is at most one."""
    statement = select(Booking).where(Booking.reader_id == reader_id, Booking.book_id == book_id, IS_OPEN)
    return await _one(session, statement)


async def open_of_books(session: AsyncSession, book_ids: Collection[int]) -> list[Booking]:
    """All open bookings of some books, locked, the earliest first. The caller has locked the books."""
    statement = (
        select(Booking)
        .where(Booking.book_id.in_(book_ids), IS_OPEN)
        .order_by(Booking.placed_at, Booking.id)
        .with_for_update(key_share=True)
    )
    return list(await session.scalars(statement, execution_options={"populate_existing": True}))


async def promised(session: AsyncSession, copy_id: int) -> Booking | None:
    """The booking to which a copy is promised, locked; there is at most one."""
    return await _one(session, select(Booking).where(Booking.copy_id == copy_id).with_for_update(key_share=True))


async def next_in_line(
    session: AsyncSession, *, book_id: int, borrowers: tuple[Collection[str], bool]
) -> Booking | None:
    """The first waiting booking whose reader may take the copy, locked. The caller has locked the book.

    `borrowers` is what `Rulebook.borrowers` says of the copy: categories that differ from the default, and the default.
    """
    return await _one(session, _line(book_id, borrowers).with_for_update(of=Booking, key_share=True))


async def first_waiting(
    session: AsyncSession, *, book_id: int, borrowers: tuple[Collection[str], bool]
) -> Booking | None:
    """The same, only looking."""
    return await _one(session, _line(book_id, borrowers))


async def is_wanted(session: AsyncSession, book_id: int) -> bool:
    """Whether anybody waits for the book."""
    return await session.scalar(_queue(book_id).with_only_columns(Booking.id).limit(1)) is not None


async def ahead_of(session: AsyncSession, bookings: Collection[Booking]) -> dict[UUID, tuple[int, int]]:
    """For each waiting booking how many wait before it, and how many of those by priority. One statement for all."""
    # These digits are what SQLite keeps of an id.
    ids = [booking.id.hex for booking in bookings if booking.status == BookingStatus.WAITING]
    if not ids:
        return {}
    return {row.id: (row.ahead, row.preferred) for row in await _AHEAD.all(session, ids=ids)}


async def waiting(session: AsyncSession, book_ids: Collection[int]) -> dict[int, int]:
    """How many wait for each book."""
    statement = (
        select(Booking.book_id, func.count()).where(Booking.book_id.in_(book_ids), IS_WAITING).group_by(Booking.book_id)
    )
    return {row[0]: row[1] for row in await session.execute(statement)}


async def page(
    session: AsyncSession,
    *,
    reader_id: UUID | None = None,
    status: str | None = None,
    branch_id: str | None = None,
    cursor: str | None,
    limit: int,
) -> tuple[list[Booking], str | None]:
    """Bookings, the newest first, of one reader or of all.

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("bookings", reader_id, status, branch_id)
    after = decode_cursor(cursor, question, key=NoneType, row_id=str)
    statement = select(Booking).order_by(Booking.id.desc()).limit(limit + 1)
    if reader_id is not None:
        statement = statement.where(Booking.reader_id == reader_id)
    if status is not None:
        statement = statement.where(*([IS_OPEN] if status in {"open", *OPEN} else []))
        statement = statement.where(*([Booking.status == status] if status != "open" else []))
    if branch_id is not None:
        statement = statement.where(Booking.pickup_branch_id == branch_id)
    if after:
        statement = statement.where(Booking.id < uuid_of(after))
    found = list(await session.scalars(statement))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, str(found[limit - 1].id)).encode(question)


async def to_pull(
    session: AsyncSession, *, branch_id: str, cursor: str | None, limit: int
) -> tuple[list[Any], str | None]:
    """Copies at a branch that are promised and still stand on its shelf, in shelf order, as (Copy, Booking, card).

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("pull-list", branch_id)
    after = decode_cursor(cursor, question, key=str)
    shelf = func.coalesce(Copy.call_number, "")
    statement = (
        select(Copy, Booking, User.card_number)
        .join(Booking, Booking.copy_id == Copy.id)
        .join(User, User.id == Booking.reader_id)
        .where(Copy.at_branch_id == branch_id, Copy.status == literal_column(f"'{CopyStatus.RESERVED}'"))
        .order_by(shelf, Copy.id)
        .limit(limit + 1)
    )
    if after:
        statement = statement.where(or_(shelf > after.key, and_(shelf == after.key, Copy.id > after.id)))
    found = list((await session.execute(statement)).all())
    if len(found) <= limit:
        return found, None
    last = found[limit - 1][0]
    return found[:limit], Cursor(last.call_number or "", last.id).encode(question)


async def on_hold_shelf(
    session: AsyncSession, *, branch_id: str, cursor: str | None, limit: int
) -> tuple[list[Any], str | None]:
    """What waits on a branch's hold shelf, in order of booking: (Copy, Booking, card number) rows.

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("hold-shelf", branch_id)
    after = decode_cursor(cursor, question, row_id=str)
    statement = (
        select(Copy, Booking, User.card_number)
        .join(Booking, Booking.copy_id == Copy.id)
        .join(User, User.id == Booking.reader_id)
        .where(Booking.pickup_branch_id == branch_id, Booking.status == BookingStatus.READY)
        .order_by(Booking.id)
        .limit(limit + 1)
    )
    if after:
        statement = statement.where(Booking.id > uuid_of(after))
    found = list((await session.execute(statement)).all())
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, str(found[limit - 1][1].id)).encode(question)


async def overdue_for_pickup(session: AsyncSession, *, now: datetime, limit: int) -> list[tuple[UUID, int]]:
    """Ready bookings whose time is up, as (booking id, book id)."""
    statement = (
        select(Booking.id, Booking.book_id)
        .where(Booking.status == literal_column(f"'{BookingStatus.READY}'"), Booking.pickup_until < now)
        .order_by(Booking.pickup_until)
        .limit(limit)
    )
    return [(row.id, row.book_id) for row in await session.execute(statement)]


async def wanted_beside_free(session: AsyncSession) -> list[int]:
    """The books, by id, for which somebody waits while a copy is free: one that he may not take, or that is his."""
    statement = (
        select(Copy.book_id)
        .join(Booking, and_(Booking.book_id == Copy.book_id, IS_WAITING))
        .where(Copy.status == CopyStatus.AVAILABLE, Copy.deleted_at.is_(None))
        .distinct()
        .order_by(Copy.book_id)
    )
    return list(await session.scalars(statement))


async def to_resume(session: AsyncSession, *, today: date, limit: int) -> list[UUID]:
    """Suspended bookings whose day to wait again has come."""
    statement = (
        select(Booking.id)
        .where(Booking.status == literal_column(f"'{BookingStatus.SUSPENDED}'"), Booking.suspended_until <= today)
        .order_by(Booking.suspended_until, Booking.id)
        .limit(limit)
    )
    return list(await session.scalars(statement))


def _line(book_id: int, borrowers: tuple[Collection[str], bool]) -> Select[Booking]:
    exceptions, default = borrowers
    named = User.category.in_(exceptions)
    return (
        _queue(book_id)
        .join(User, User.id == Booking.reader_id)
        .where(~named if default else named)
        .order_by(Booking.priority, Booking.placed_at, Booking.id)
        .limit(1)
    )


def _queue(book_id: int) -> Select[Booking]:
    return select(Booking).where(Booking.book_id == book_id, IS_WAITING)


async def _one(session: AsyncSession, statement: Select[Booking]) -> Booking | None:
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()
