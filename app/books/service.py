"""The catalogue: adding, changing, removing and restoring books. Every change writes the document and what finds it."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import identifiers, queries, search
from app.books.models import AccessPoint, Book, SourceRecord
from app.books.schemas import BookCreate, BookDocument, BookRead, IdentifierRead
from app.core import metrics
from app.core.db import on_commit
from app.core.errors import Conflict, Gone, NotFound, Unprocessable
from app.core.schemas import JsonObject
from app.core.versioning import IfMatch, compare

UNDO_DAYS: Final = 30


class BookNotFound(NotFound):
    code, detail = "book_not_found", "There is no such book."


class BookGone(Gone):
    code, detail = "book_gone", "This book has been removed from the catalogue."


class BookMerged(Gone):
    """Where the book stands in the address, the edge answers 308 to the other one instead."""

    code, detail = "book_merged", "This book was merged into book {into}."


class MergeIntoItself(Unprocessable):
    code, detail = "merge_into_itself", "A book can't be merged into itself."


class BookInUse(Conflict):
    code, detail = "book_in_use", "The book can't be removed while it has {what}."


class UndoTooLate(Conflict):
    code, detail = "undo_too_late", "What was removed can be restored for 30 days; that time has passed."


async def add(session: AsyncSession, *, data: BookCreate, now: datetime) -> BookRead:
    """Put a book into the catalogue; it is found by the next request."""
    [book] = await add_many(session, books=[data], now=now)
    return read(book)


async def add_many(session: AsyncSession, *, books: Iterable[BookCreate], now: datetime) -> list[Book]:
    """Put books into the catalogue in their order, with as few statements as the database allows."""
    added: list[Book] = []
    points: dict[int, list[JsonObject]] = {}
    for data in books:
        document = _document(data.model_dump(), created_at=now, updated_at=now)
        book = Book(version=1, created_at=now, updated_at=now)
        points[len(added)] = _write(book, document)
        added.append(book)
    session.add_all(added)
    await session.flush()
    rows = [{"book_id": added[index].id, **point} for index, found in points.items() for point in found]
    if rows:
        await session.execute(insert(AccessPoint), rows)
    on_commit(session, lambda: metrics.books_created_total.inc(len(added)))
    return added


async def change(
    session: AsyncSession, *, book_id: int, changes: JsonObject, if_match: IfMatch, now: datetime
) -> BookRead:
    """Change the fields in `changes`; `if_match` holds the versions the caller may have read, None any.

    Raises:
        BookNotFound, BookGone.
        VersionChanged: somebody was faster; carries the current book.
    """
    book = await _present(session, book_id)
    compare(book.version, if_match, lambda: read(book))
    before = json.loads(book.document)
    writable = {name: value for name, value in before.items() if name in BookCreate.model_fields}
    writable["identifiers"] = [{"type": item["type"], "value": item["value"]} for item in before["identifiers"]]
    merged = writable | changes
    if merged == writable:
        return read(book)
    document = _document(merged, created_at=book.created_at, updated_at=now)
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
    book = await _present(session, book_id)
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
    book = await queries.locked(session, book_id)
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


async def get(session: AsyncSession, *, book_id: int, with_suppressed: bool) -> queries.Row:
    """One book as stored.

    Raises:
        BookNotFound: also when it is suppressed and the caller may not see that.
        BookGone.
    """
    book = _check(await queries.find(session, book_id))
    if book.suppressed and not with_suppressed:
        raise BookNotFound
    return queries.Row(book.id, book.version, book.document)


async def hold(session: AsyncSession, *, book_id: int) -> Book:
    """Lock a book that is there, for whoever changes what hangs on it (lock order: reader, book, copy).

    Raises:
        BookNotFound, BookGone.
    """
    return await _present(session, book_id)


async def share(session: AsyncSession, *, book_id: int) -> Book:
    """A book that readers see, kept from being merged or removed until this transaction ends; others may share it.

    Raises:
        BookNotFound, BookGone, BookMerged.
    """
    book = _check(await queries.shared(session, book_id))
    if book.suppressed:
        raise BookNotFound
    return book


async def hold_pair(session: AsyncSession, *, source_id: int, target_id: int) -> tuple[Book, Book]:
    """Two books to be merged, locked against everybody, the lower id first.

    Raises:
        BookNotFound, BookGone, BookMerged, MergeIntoItself.
    """
    if source_id == target_id:
        raise MergeIntoItself
    found = await queries.locked_pair(session, source_id, target_id)
    return _check(found.get(source_id)), _check(found.get(target_id))


async def absorb(session: AsyncSession, *, source: Book, target: Book, now: datetime) -> None:
    """Let a book end in another: its source records move, its address leads to the other. Both are locked.

    Whoever calls this has moved copies, bookings and loans.
    """
    await session.execute(update(SourceRecord).where(SourceRecord.book_id == source.id).values(book_id=target.id))
    source.deleted_at = now
    source.merged_into_id = target.id
    await session.flush()


async def keep_source(
    session: AsyncSession,
    *,
    book_id: int,
    source: str,
    control_number: str,
    digest: str,
    record_format: str,
    record: bytes,
    now: datetime,
) -> None:
    """Keep the record that a book was made from, under the key by which an import finds it again."""
    session.add(
        SourceRecord(
            book_id=book_id,
            source=source,
            control_number=control_number,
            digest=digest,
            format=record_format,
            record=record,
            imported_at=now,
        )
    )


async def reindex(session: AsyncSession, *, after_id: int, limit: int) -> int | None:
    """Write documents' keys and terms anew for the next `limit` books; the last id, or None when all are done."""
    books = await queries.after(session, after_id=after_id, limit=limit)
    for book in books:
        await _rewrite(session, book, BookDocument.model_validate_json(book.document))
    return books[-1].id if books else None


def read(book: Book) -> BookRead:
    return BookRead.model_validate({"id": book.id, "version": book.version, **json.loads(book.document)}, strict=False)


async def _present(session: AsyncSession, book_id: int) -> Book:
    return _check(await queries.locked(session, book_id))


def _check(book: Book | None) -> Book:
    if book is None:
        raise BookNotFound
    if book.merged_into_id is not None:
        raise BookMerged(into=book.merged_into_id)
    if book.deleted_at:
        raise BookGone
    return book


async def _rewrite(session: AsyncSession, book: Book, document: BookDocument) -> None:
    points = _write(book, document)
    await session.execute(delete(AccessPoint).where(AccessPoint.book_id == book.id))
    if points:
        await session.execute(insert(AccessPoint), [{"book_id": book.id, **point} for point in points])


def _write(book: Book, document: BookDocument) -> list[JsonObject]:
    """Set the columns that follow from the document; returns its access points."""
    book.title = document.title
    book.title_key = search.key(document.title) or document.title[: search.MAX_KEY_CHARACTERS]
    book.year = document.year
    book.suppressed = document.suppressed
    book.document = document.model_dump_json()
    book.search_terms = search.terms(_searchable(document))
    return _access_points(document)


def _document(fields: dict[str, Any], *, created_at: datetime, updated_at: datetime) -> BookDocument:
    numbers = [_identifier(item["type"], item["value"]) for item in fields["identifiers"]]
    return BookDocument.model_validate(
        fields | {"identifiers": numbers, "created_at": created_at, "updated_at": updated_at}
    )


def _identifier(kind: Any, value: str) -> IdentifierRead:
    normalized = identifiers.normalize(kind, value)
    return IdentifierRead(type=kind, value=value, normalized=normalized, valid=normalized is not None)


def _searchable(document: BookDocument) -> Iterable[str]:
    yield document.title
    yield document.subtitle or ""
    yield from (contributor.name for contributor in document.contributors)
    yield from document.series
    yield from document.subjects
    yield from (number.normalized or number.value for number in document.identifiers)


def _access_points(document: BookDocument) -> list[JsonObject]:
    labels = [("author", contributor.name) for contributor in document.contributors]
    labels += [("subject", subject) for subject in document.subjects]
    labels += [("series", series) for series in document.series]
    labels += [("language", language) for language in document.languages]
    points = {(kind, search.key(label)): label for kind, label in labels}
    points |= {(number.type, number.normalized): number.value for number in document.identifiers if number.normalized}
    return [{"kind": kind, "key": key, "label": label} for (kind, key), label in points.items() if key]
