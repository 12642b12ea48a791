"""Reading copies: of a book, by barcode, and the live counts of availability."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, bindparam, case, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.books.models import Book
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.direct import Direct
from app.core.functions import among, database_clock, list_of, listed
from app.core.pagination import Cursor, decode_cursor, question_of

GONE = (CopyStatus.WITHDRAWN, CopyStatus.LOST, CopyStatus.MISSING)

_KINDS: Final = Direct(
    select(Copy.item_type, Copy.branch_id)
    .where(Copy.book_id == bindparam("book_id"), Copy.deleted_at.is_(None), Copy.status != CopyStatus.WITHDRAWN)
    .distinct()
)
_WANTED: Final = (
    select(Copy.id)
    .where(
        Copy.book_id == bindparam("book_id"),
        Copy.status == CopyStatus.AVAILABLE,
        Copy.deleted_at.is_(None),
        among(Copy.item_type + "/" + Copy.branch_id, bindparam("kinds", type_=list_of(Text()))),
    )
    .order_by(case((Copy.branch_id == bindparam("prefer"), 0), else_=1), Copy.id)
    .limit(1)
)


def _claiming(wanted: Select[int]) -> Direct:
    reserve = update(Copy).where(Copy.id == wanted.scalar_subquery(), Copy.status == CopyStatus.AVAILABLE)
    return Direct(reserve.values(status=CopyStatus.RESERVED).returning(Copy.id, database_clock().label("claimed_at")))


_CLAIM: Final = _claiming(_WANTED.with_for_update(key_share=True))
_CLAIM_AT_ONCE: Final = _claiming(_WANTED.with_for_update(key_share=True, skip_locked=True))


async def find(session: AsyncSession, copy_id: int) -> Copy | None:
    return await session.get(Copy, copy_id)


async def locked(session: AsyncSession, copy_id: int) -> Copy | None:
    """The copy with its row locked, read afresh."""
    statement = select(Copy).where(Copy.id == copy_id).with_for_update(key_share=True)
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def page(
    session: AsyncSession, *, book_id: int | None, barcode: str | None, cursor: str | None, limit: int
) -> tuple[list[Copy], str | None]:
    """Copies by id, of one book or with one barcode.

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("copies", book_id, barcode)
    after = decode_cursor(cursor, question)
    statement = select(Copy).where(Copy.deleted_at.is_(None)).order_by(Copy.id).limit(limit + 1)
    if book_id is not None:
        statement = statement.where(Copy.book_id == book_id)
    if barcode is not None:
        statement = statement.where(Copy.barcode == barcode)
    if after:
        statement = statement.where(Copy.id > after.id)
    found = list(await session.scalars(statement))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, found[limit - 1].id).encode(question)


async def find_by_barcode(session: AsyncSession, barcode: str) -> Copy | None:
    statement = select(Copy).where(Copy.barcode == barcode, Copy.deleted_at.is_(None))
    return (await session.scalars(statement)).one_or_none()


async def of_books(session: AsyncSession, book_ids: Collection[int]) -> dict[int, list[Copy]]:
    """The copies of each book, in order of id."""
    statement = select(Copy).where(Copy.book_id.in_(book_ids), Copy.deleted_at.is_(None)).order_by(Copy.id)
    found: dict[int, list[Copy]] = {}
    for copy in await session.scalars(statement):
        found.setdefault(copy.book_id, []).append(copy)
    return found


async def owners(session: AsyncSession, barcodes: Collection[str]) -> dict[str, int]:
    """The books whose copies have these barcodes."""
    if not barcodes:
        return {}
    statement = select(Copy.barcode, Copy.book_id).where(Copy.barcode.in_(barcodes), Copy.deleted_at.is_(None))
    return {row.barcode: row.book_id for row in await session.execute(statement)}


async def barcodes(session: AsyncSession, copy_ids: Collection[int]) -> dict[int, str]:
    """The barcodes of some copies, removed ones too."""
    found = await session.execute(select(Copy.id, Copy.barcode).where(Copy.id.in_(copy_ids)))
    return {row.id: row.barcode for row in found}


async def kinds(session: AsyncSession, book_id: int) -> list[tuple[str, str]]:
    """The (item type, home branch) pairs among a book's copies that the library still has."""
    return [(row.item_type, row.branch_id) for row in await _KINDS.all(session, book_id=book_id)]


async def claim(
    session: AsyncSession, *, book_id: int, kinds: Collection[tuple[str, str]], prefer_branch: str, waits: bool
) -> Any:
    """Reserve a free copy of these kinds: its `id`, and `claimed_at` by the database's clock; None without one.

    Without waiting it is a fast path, never a verdict: None may mean that the free copy is only being edited, or that
    the one who claimed it rolls back. Wait for whoever holds it, under the book's lock, before you say that there is
    none. The session's objects don't learn of it.
    """
    return await (_CLAIM if waits else _CLAIM_AT_ONCE).one(
        session, book_id=book_id, kinds=[f"{item_type}/{branch}" for item_type, branch in kinds], prefer=prefer_branch
    )


async def lock_free(session: AsyncSession, book_id: int) -> list[Copy]:
    """All free copies of a book, locked in order of id, after waiting for whoever holds one."""
    statement = (
        select(Copy)
        .where(Copy.book_id == book_id, Copy.status == CopyStatus.AVAILABLE, Copy.deleted_at.is_(None))
        .order_by(Copy.id)
        .with_for_update(key_share=True)
    )
    return list(await session.scalars(statement, execution_options={"populate_existing": True}))


def has_available(*, branch_id: str | None = None) -> ColumnElement[bool]:
    """The condition that a book has a copy on the shelf now, of this branch if one is named."""
    return _has(Copy.status == CopyStatus.AVAILABLE, branch_id)


def has_any(*, branch_id: str) -> ColumnElement[bool]:
    """The condition that a book has a copy that belongs to this branch and is not gone."""
    return _has(Copy.status.not_in(GONE), branch_id)


def _has(condition: ColumnElement[bool], branch_id: str | None) -> ColumnElement[bool]:
    found = exists().where(Copy.book_id == Book.id, condition, Copy.deleted_at.is_(None))
    return found if branch_id is None else found.where(Copy.branch_id == branch_id)


async def by_branch(session: AsyncSession, book_ids: Sequence[int]) -> list[tuple[str, int]]:
    """How many of these books each branch has copies of, the most first."""
    number = func.count(Copy.book_id.distinct())
    statement = (
        select(Copy.branch_id, number)
        .where(among(Copy.book_id, listed(book_ids)), Copy.deleted_at.is_(None), Copy.status.not_in(GONE))
        .group_by(Copy.branch_id)
        .order_by(number.desc(), Copy.branch_id)
    )
    return [(branch, int(count)) for branch, count in await session.execute(statement)]


async def count_available(session: AsyncSession, book_ids: Sequence[int]) -> int:
    """How many of these books have a copy on the shelf now."""
    statement = select(func.count(Copy.book_id.distinct())).where(
        among(Copy.book_id, listed(book_ids)), Copy.deleted_at.is_(None), Copy.status == CopyStatus.AVAILABLE
    )
    return await session.scalar(statement) or 0


async def counts(session: AsyncSession, book_ids: Collection[int]) -> dict[int, tuple[int, int]]:
    """For each book: copies that the library holds, and those free on the shelf. Live, in one statement."""
    total = func.sum(case((Copy.status.in_(GONE), 0), else_=1))
    available = func.sum(case((Copy.status == CopyStatus.AVAILABLE, 1), else_=0))
    statement = (
        select(Copy.book_id, total, available)
        .where(Copy.book_id.in_(book_ids), Copy.deleted_at.is_(None))
        .group_by(Copy.book_id)
    )
    found: dict[int, tuple[int, int]] = dict.fromkeys(book_ids, (0, 0))
    for book_id, count, free in await session.execute(statement):
        found[book_id] = (int(count), int(free))
    return found


async def any_of(session: AsyncSession, **columns: Any) -> bool:
    """Whether a copy that was not removed has these values."""
    statement = select(Copy.id).where(Copy.deleted_at.is_(None)).filter_by(**columns).limit(1)
    return (await session.scalar(statement)) is not None
