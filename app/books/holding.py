"""Holding books: the locks under which what hangs on a book may change (lock order: reader, book, copy)."""

from datetime import datetime
from typing import Final, Protocol, TypeVar

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.books.models import Book, SourceRecord
from app.core.direct import Direct
from app.core.errors import Gone, NotFound, Unprocessable


class BookNotFound(NotFound):
    code, detail = "book_not_found", "There is no such book."


class BookGone(Gone):
    code, detail = "book_gone", "This book has been removed from the catalogue."


class BookMerged(Gone):
    """Where the book stands in the address, the edge answers 308 to the other one instead."""

    code, detail = "book_merged", "This book was merged into book {into}."


class MergeIntoItself(Unprocessable):
    code, detail = "merge_into_itself", "A book can't be merged into itself."


class Shelved(Protocol):
    """A book, or the columns that say what became of one."""

    @property
    def merged_into_id(self) -> int | None: ...

    @property
    def deleted_at(self) -> datetime | None: ...


B = TypeVar("B", bound=Shelved)
_BECAME: Final = select(Book.merged_into_id, Book.deleted_at, Book.suppressed).where(Book.id == bindparam("book_id"))
_HOLD: Final = Direct(_BECAME.with_for_update(key_share=True))
_SHARE: Final = Direct(_BECAME.with_for_update(read=True, key_share=True))


class Hanging(Protocol):
    """What hangs on a book: a copy, booking or loan."""

    @property
    def book_id(self) -> int: ...


async def hold(session: AsyncSession, *, book_id: int) -> None:
    """Lock a book that is there, for whoever changes what hangs on it.

    Raises:
        BookNotFound, BookGone, BookMerged.
    """
    present(await _HOLD.one(session, book_id=book_id))


async def hold_of(session: AsyncSession, thing: Hanging) -> Book:
    """Lock the book of a copy, booking or loan; if a merge moved it meanwhile, the book where it hangs now.

    Raises:
        BookNotFound, BookGone.
    """
    book = await locked(session, thing.book_id)
    while book is not None and book.merged_into_id is not None:
        await session.refresh(thing, ["book_id"])
        if thing.book_id == book.id:
            break
        book = await locked(session, thing.book_id)
    return present(book)


async def share(session: AsyncSession, *, book_id: int) -> None:
    """Keep a book that readers see from being merged until this transaction ends; others may share it.

    Raises:
        BookNotFound, BookGone, BookMerged.
    """
    if present(await _SHARE.one(session, book_id=book_id)).suppressed:
        raise BookNotFound


async def hold_pair(session: AsyncSession, *, source_id: int, target_id: int) -> tuple[Book, Book]:
    """Two books to be merged, locked against everybody, the lower id first.

    Raises:
        BookNotFound, BookGone, BookMerged, MergeIntoItself.
    """
    if source_id == target_id:
        raise MergeIntoItself
    statement = select(Book).where(Book.id.in_((source_id, target_id))).order_by(Book.id).with_for_update()
    rows = await session.scalars(statement, execution_options={"populate_existing": True})
    found = {book.id: book for book in rows}
    return present(found.get(source_id)), present(found.get(target_id))


async def absorb(session: AsyncSession, *, source: Book, target: Book, now: datetime) -> None:
    """Let a book end in another: its source records move, its address leads to the other. Both are held.

    Whoever calls this has moved copies, bookings and loans.
    """
    await session.execute(update(SourceRecord).where(SourceRecord.book_id == source.id).values(book_id=target.id))
    source.deleted_at = now
    source.merged_into_id = target.id
    await session.flush()


async def locked(session: AsyncSession, book_id: int) -> Book | None:
    """The book with its row locked, read afresh, whatever became of it."""
    return await _one(session, select(Book).where(Book.id == book_id).with_for_update(key_share=True))


def present(book: B | None) -> B:
    """The book, if it is there.

    Raises:
        BookNotFound, BookGone, BookMerged.
    """
    if book is None:
        raise BookNotFound
    if book.merged_into_id is not None:
        raise BookMerged(into=book.merged_into_id)
    if book.deleted_at:
        raise BookGone
    return book


async def _one(session: AsyncSession, statement: Select[Book]) -> Book | None:
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()
