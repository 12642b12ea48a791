"""Copies: adding, changing, removing and restoring them. Their status changes in circulation."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NoReturn

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import service as books
from app.books.schemas import Availability
from app.branches import service as branches
from app.copies import queries
from app.copies.models import Copy
from app.copies.schemas import CopyCreate, CopyRead
from app.copies.statuses import CopyStatus
from app.core.errors import Conflict, Gone, NotFound
from app.core.schemas import JsonObject, Money
from app.core.versioning import IfMatch, compare


class CopyNotFound(NotFound):
    code, detail = "copy_not_found", "There is no such copy."


class CopyGone(Gone):
    code, detail = "copy_gone", "This copy has been removed."


class BarcodeTaken(Conflict):
    code, detail = "barcode_taken", "Another copy has this barcode."


class CopyInUse(Conflict):
    code, detail = "copy_in_use", "The copy can't be removed while it is {state}."


BUSY = (CopyStatus.ON_LOAN, CopyStatus.RESERVED, CopyStatus.ON_HOLD_SHELF, CopyStatus.IN_TRANSIT)


async def add(session: AsyncSession, *, book_id: int, data: CopyCreate, branch_id: str, now: datetime) -> Copy:
    """Add a copy, free on the shelf. Locks the book.

    Raises:
        BookNotFound, BookGone, UnknownBranch, BarcodeTaken.
    """
    await books.hold(session, book_id=book_id)
    await branches.check_open(session, branch_id)
    copy = Copy(
        version=1,
        book_id=book_id,
        barcode=data.barcode,
        call_number=data.call_number,
        branch_id=branch_id,
        at_branch_id=branch_id,
        shelf_location=data.shelf_location,
        item_type=data.item_type,
        status=CopyStatus.AVAILABLE,
        price_minor=data.price_minor,
        note=data.note,
        created_at=now,
    )
    session.add(copy)
    await _flush_barcode(session)
    return copy


async def add_many(
    session: AsyncSession, *, copies: Iterable[tuple[int, CopyCreate]], branch_id: str, now: datetime
) -> None:
    """Add copies of books that this transaction made, so that nobody waits for them; each is (book id, copy).

    `branch_id` is for copies that name no branch; the caller has checked every branch.

    Raises:
        BarcodeTaken.
    """
    rows = [
        data.model_dump(exclude={"branch"})
        | {"version": 1, "book_id": book_id, "branch_id": home, "at_branch_id": home}
        | {"status": CopyStatus.AVAILABLE, "created_at": now}
        for book_id, data in copies
        for home in (data.branch or branch_id,)
    ]
    if not rows:
        return
    try:
        async with session.begin_nested():
            await session.execute(insert(Copy), rows)
    except IntegrityError as error:
        _tell_barcode(error)


async def change(session: AsyncSession, *, copy_id: int, changes: JsonObject, if_match: IfMatch, currency: str) -> Copy:
    """Change what is written on a copy or where it belongs.

    Raises:
        CopyNotFound, CopyGone, VersionChanged, UnknownBranch, BarcodeTaken.
    """
    copy = await present(session, copy_id)
    compare(copy.version, if_match, lambda: read(copy, currency=currency))
    if "branch" in changes:
        await branches.check_open(session, changes["branch"])  # before any change, which a question would write
    for name, value in changes.items():
        setattr(copy, "branch_id" if name == "branch" else name, value)
    if session.is_modified(copy):
        copy.version += 1
    await _flush_barcode(session)
    return copy


async def remove(session: AsyncSession, *, copy_id: int, if_match: IfMatch, currency: str, now: datetime) -> None:
    """Remove a copy that is neither lent nor promised.

    Raises:
        CopyNotFound, CopyGone, VersionChanged, CopyInUse.
    """
    copy = await present(session, copy_id)
    compare(copy.version, if_match, lambda: read(copy, currency=currency))
    if copy.status in BUSY:
        raise CopyInUse(state=copy.status.replace("_", " "), in_use=[copy.status])
    copy.deleted_at = now
    await session.flush()


async def restore(session: AsyncSession, *, copy_id: int, now: datetime) -> Copy:
    """Undo a removal within 30 days; restoring a copy that is there changes nothing.

    Raises:
        CopyNotFound, UndoTooLate, BarcodeTaken, BookGone.
    """
    found = await queries.find(session, copy_id)
    if found is None:
        raise CopyNotFound
    await books.hold_of(session, found)
    copy = await queries.locked(session, copy_id) or found
    if copy.deleted_at:
        books.check_undo(copy.deleted_at, now)
        copy.deleted_at = None
        await _flush_barcode(session)
    return copy


async def get(session: AsyncSession, *, copy_id: int) -> Copy:
    """A copy that is there.

    Raises:
        CopyNotFound, CopyGone.
    """
    copy = await queries.find(session, copy_id)
    if copy is None:
        raise CopyNotFound
    if copy.deleted_at:
        raise CopyGone
    return copy


async def availability(
    session: AsyncSession, *, book_ids: Collection[int], waiting: Mapping[int, int]
) -> dict[int, Availability]:
    """Live counts for each book, in one statement; `waiting` says how many readers wait for a book, if any do."""
    found = await queries.counts(session, book_ids)
    return {
        book_id: Availability(total=total, available=available, waiting=waiting.get(book_id, 0))
        for book_id, (total, available) in found.items()
    }


async def present(session: AsyncSession, copy_id: int) -> Copy:
    """A copy that is there, locked.

    Raises:
        CopyNotFound, CopyGone.
    """
    copy = await queries.locked(session, copy_id)
    if copy is None:
        raise CopyNotFound
    if copy.deleted_at:
        raise CopyGone
    return copy


def read(copy: Copy, *, currency: str) -> CopyRead:
    """A copy as it is answered; its price in the library's currency."""
    price = None if copy.price_minor is None else Money(amount_minor=copy.price_minor, currency=currency)
    return CopyRead(
        id=copy.id,
        version=copy.version,
        book_id=copy.book_id,
        barcode=copy.barcode,
        call_number=copy.call_number,
        branch=copy.branch_id,
        shelf_location=copy.shelf_location,
        item_type=copy.item_type,
        status=CopyStatus(copy.status),
        price=price,
        note=copy.note,
    )


async def _flush_barcode(session: AsyncSession) -> None:
    """Write, and tell a barcode that is taken; the savepoint keeps the transaction usable for a batch."""
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError as error:
        _tell_barcode(error)


def _tell_barcode(error: IntegrityError) -> NoReturn:
    if "barcode" in str(error.orig):
        raise BarcodeTaken from None
    raise error
