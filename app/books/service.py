"""The catalogue: adding, changing, removing and restoring books. Every change writes the document and what finds it."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import paging, queries
from app.books.holding import BookGone as BookGone
from app.books.holding import BookMerged as BookMerged
from app.books.holding import BookNotFound as BookNotFound
from app.books.holding import MergeIntoItself as MergeIntoItself
from app.books.holding import absorb as absorb
from app.books.holding import hold as hold
from app.books.holding import hold_of as hold_of
from app.books.holding import hold_pair as hold_pair
from app.books.holding import locked as locked
from app.books.holding import present as present
from app.books.holding import share as share
from app.books.models import CATALOGUE, AccessPoint, Book, SourceRecord
from app.books.preparing import Access, Prepared, document_of, worked_out
from app.books.preparing import prepare as prepare
from app.books.schemas import BookCreate, BookDocument, BookRead
from app.books.search import index, spelling
from app.core import metrics
from app.core.bulk import Rows, insert_rows, next_ids
from app.core.db import on_commit, raise_generation
from app.core.errors import Conflict
from app.core.schemas import JsonObject
from app.core.versioning import IfMatch, compare

UNDO_DAYS: Final = 30


class BookInUse(Conflict):
    code, detail = "book_in_use", "The book can't be removed while it has {what}."


class UndoTooLate(Conflict):
    code, detail = "undo_too_late", "What was removed can be restored for 30 days; that time has passed."


async def add(session: AsyncSession, *, data: BookCreate, now: datetime) -> BookRead:
    """Put a book into the catalogue; it is found by the next request."""
    prepared = prepare(data, now=now)
    [book_id] = await add_many(session, books=[prepared])
    return read(Book(id=book_id, **prepared.columns))


async def add_many(session: AsyncSession, *, books: Iterable[Prepared]) -> list[int]:
    """Put books into the catalogue in their order, with few statements however many they are; their ids."""
    ready = list(books)
    if not ready:
        return []
    ids = await next_ids(session, Book.__table__, len(ready))
    found_by = {book_id: prepared.access for book_id, prepared in zip(ids, ready, strict=True)}
    rows = ((book_id, *prepared.columns.values()) for book_id, prepared in zip(ids, ready, strict=True))
    await insert_rows(session, Rows(Book.__table__, ("id", *ready[0].columns), rows), *_index_rows(session, found_by))
    await spelling.learn(session, _words_of(found_by))
    raise_generation(session, CATALOGUE)
    on_commit(session, lambda: metrics.books_created_total.inc(len(ids)))
    return ids


async def change(
    session: AsyncSession, *, book_id: int, changes: JsonObject, if_match: IfMatch, now: datetime
) -> BookRead:
    """Change the fields in `changes`; `if_match` holds the versions the caller may have read, None any.

    Raises:
        BookNotFound, BookGone.
        VersionChanged: somebody was faster; carries the current book.
    """
    book = present(await locked(session, book_id))
    compare(book.version, if_match, lambda: read(book))
    writable = fields_of(book).model_dump()
    merged = writable | changes
    if merged == writable:
        return read(book)
    document = document_of(merged, created_at=book.created_at, updated_at=now)
    await _rewrite(session, book, document)
    book.version += 1
    book.updated_at = now
    await session.flush()
    return read(book)


async def remove(
    session: AsyncSession, *, book_id: int, if_match: IfMatch, in_use: Iterable[str], now: datetime
) -> None:
    """Remove a book; it answers 410 from now on. `in_use` names what stands in the way (copies, bookings, loans).

    The caller computes `in_use` after locking the book in this transaction.

    Raises:
        BookNotFound, BookGone, VersionChanged, BookInUse.
    """
    book = present(await locked(session, book_id))
    compare(book.version, if_match, lambda: read(book))
    if blockers := list(in_use):
        raise BookInUse(what=" and ".join(blockers), in_use=blockers)
    book.deleted_at = now
    await session.flush()


async def restore(session: AsyncSession, *, book_id: int, now: datetime) -> BookRead:
    """Undo a removal within 30 days; restoring a book that is there changes nothing.

    Raises:
        BookNotFound, UndoTooLate.
    """
    book = await locked(session, book_id)
    if book is None:
        raise BookNotFound
    if book.merged_into_id is not None:
        raise BookMerged(into=book.merged_into_id)
    if book.deleted_at:
        check_undo(book.deleted_at, now)
        book.deleted_at = None
    await session.flush()
    return read(book)


def check_undo(deleted_at: datetime, now: datetime) -> None:
    """Raise UndoTooLate unless what was removed at `deleted_at` may still be restored."""
    if deleted_at < now - timedelta(days=UNDO_DAYS):
        raise UndoTooLate


async def get(session: AsyncSession, *, book_id: int, with_suppressed: bool) -> paging.Row:
    """One book as stored.

    Raises:
        BookNotFound: also when it is suppressed and the caller may not see that.
        BookGone.
    """
    book = present(await queries.find(session, book_id))
    if book.suppressed and not with_suppressed:
        raise BookNotFound
    return paging.Row(book.id, book.version, book.document)


class KeptRecord(NamedTuple):
    """A record that a book was made from, under the key by which an import finds it again."""

    book_id: int
    source: str
    control_number: str
    digest: str
    format: str
    record: bytes


async def keep_sources(session: AsyncSession, *, records: Iterable[KeptRecord], now: datetime) -> None:
    """Keep the records that books were made from."""
    rows = ((*record, now) for record in records)
    await insert_rows(session, Rows(SourceRecord.__table__, (*KeptRecord._fields, "imported_at"), rows))


async def reindex(session: AsyncSession, *, after_id: int, limit: int) -> int | None:
    """Write keys and terms anew for the next `limit` books by id; the last id, or None when all are done.

    Locks those books; searches see the old terms until the commit.
    """
    books = await queries.after(session, after_id=after_id, limit=limit)
    access = {book.id: _write(book, BookDocument.model_validate_json(book.document)) for book in books}
    await session.flush()
    await _index(session, access)
    return books[-1].id if books else None


def read(book: Book) -> BookRead:
    return BookRead.model_validate({"id": book.id, "version": book.version, **json.loads(book.document)}, strict=False)


def fields_of(book: Book) -> BookCreate:
    """The book's content as it would be sent to make it anew."""
    stored = json.loads(book.document)
    fields = {name: value for name, value in stored.items() if name in BookCreate.model_fields}
    fields["identifiers"] = [{"type": item["type"], "value": item["value"]} for item in stored["identifiers"]]
    return BookCreate.model_validate(fields)


async def _rewrite(session: AsyncSession, book: Book, document: BookDocument) -> None:
    await _index(session, {book.id: _write(book, document)})


async def _index(session: AsyncSession, found_by: Mapping[int, Access]) -> None:
    """Write anew what finds these books."""
    await session.execute(delete(AccessPoint).where(AccessPoint.book_id.in_(found_by)))
    await index.forget(session, found_by)
    await insert_rows(session, *_index_rows(session, found_by))
    await spelling.learn(session, _words_of(found_by))


def _index_rows(session: AsyncSession, found_by: Mapping[int, Access]) -> tuple[Rows, Rows]:
    points = ((book_id, *point) for book_id, found in found_by.items() for point in found.points)
    terms = {book_id: found.terms for book_id, found in found_by.items()}
    return Rows(AccessPoint.__table__, ("book_id", "kind", "key", "label"), points), index.rows(session, terms)


def _words_of(found_by: Mapping[int, Access]) -> set[str]:
    return set().union(*(found.terms.words for found in found_by.values()))


def _write(book: Book, document: BookDocument) -> Access:
    """Set the columns that follow from the document; returns what else finds it."""
    columns, access = worked_out(document)
    for name, value in columns.items():
        setattr(book, name, value)
    return access
