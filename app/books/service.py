"""The catalogue: adding, changing, removing and restoring books. Every change writes the document and what finds it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import identifiers, paging, queries, search
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
from app.books.models import AccessPoint, Book, SourceRecord
from app.books.schemas import BookCreate, BookDocument, BookRead, IdentifierRead
from app.books.search import index, spelling
from app.books.search.terms import Terms, terms_of
from app.core import metrics
from app.core.db import on_commit
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
    [book] = await add_many(session, books=[prepare(data, now=now)])
    return read(book)


@dataclass(frozen=True, slots=True)
class Access:
    """What finds a book: its access points and its indexed terms."""

    points: list[JsonObject]
    terms: Terms


@dataclass(frozen=True, slots=True)
class Prepared:
    """A book ready to be written: all that costs time to work out and needs no database."""

    columns: JsonObject
    access: Access


def prepare(data: BookCreate, *, now: datetime) -> Prepared:
    """Work out everything that is stored of a new book; about half a millisecond, so not inside a transaction."""
    document = _document(data.model_dump(), created_at=now, updated_at=now)
    columns, access = _worked_out(document)
    return Prepared(columns | {"version": 1, "popularity": 0, "created_at": now, "updated_at": now}, access)


async def add_many(session: AsyncSession, *, books: Iterable[Prepared]) -> list[Book]:
    """Put books into the catalogue in their order, with as few statements as the database allows."""
    ready = list(books)
    added = [Book(**prepared.columns) for prepared in ready]
    session.add_all(added)
    await session.flush()
    found_by = {book.id: prepared.access for book, prepared in zip(added, ready, strict=True)}
    await _index(session, found_by, are_new=True)
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
    book = present(await locked(session, book_id))
    compare(book.version, if_match, lambda: read(book))
    writable = fields_of(book).model_dump()
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


async def keep_sources(session: AsyncSession, *, records: Iterable[JsonObject], now: datetime) -> None:
    """Keep the records that books were made from, under the keys by which an import finds them again.

    Each has book_id, source, control_number, digest, format and record (its bytes).
    """
    rows = [{**record, "imported_at": now} for record in records]
    if rows:
        await session.execute(insert(SourceRecord), rows)


async def reindex(session: AsyncSession, *, after_id: int, limit: int) -> int | None:
    """Write keys and terms anew for the next `limit` books by id; the last id, or None when all are done.

    Locks those books; searches see the old terms until the commit.
    """
    books = await queries.after(session, after_id=after_id, limit=limit)
    access = {book.id: _write(book, BookDocument.model_validate_json(book.document)) for book in books}
    await session.flush()
    await _index(session, access, are_new=False)
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
    await _index(session, {book.id: _write(book, document)}, are_new=False)


async def _index(session: AsyncSession, access: dict[int, Access], *, are_new: bool) -> None:
    if not are_new:
        await session.execute(delete(AccessPoint).where(AccessPoint.book_id.in_(access)))
    rows = [{"book_id": book_id, **point} for book_id, found in access.items() for point in found.points]
    if rows:
        await session.execute(insert(AccessPoint), rows)
    await index.put(session, {book_id: found.terms for book_id, found in access.items()}, are_new=are_new)
    await spelling.learn(session, set().union(*(found.terms.words for found in access.values())))


def _write(book: Book, document: BookDocument) -> Access:
    """Set the columns that follow from the document; returns what else finds it."""
    columns, access = _worked_out(document)
    for name, value in columns.items():
        setattr(book, name, value)
    return access


def _worked_out(document: BookDocument) -> tuple[JsonObject, Access]:
    """The columns that follow from the document, and what else finds the book."""
    terms = terms_of(document)
    columns = {
        "title": document.title,
        "title_key": search.key(document.sort_title or document.title) or document.title[: search.MAX_KEY_CHARACTERS],
        "year": document.year,
        "suppressed": document.suppressed,
        "document": document.model_dump_json(),
        "search_terms": terms.ranked,
    }
    return columns, Access(_access_points(document), terms)


def _document(fields: dict[str, Any], *, created_at: datetime, updated_at: datetime) -> BookDocument:
    numbers = [_identifier(item["type"], item["value"]) for item in fields["identifiers"]]
    return BookDocument.model_validate(
        fields | {"identifiers": numbers, "created_at": created_at, "updated_at": updated_at}
    )


def _identifier(kind: Any, value: str) -> IdentifierRead:
    normalized = identifiers.normalize(kind, value)
    return IdentifierRead(type=kind, value=value, normalized=normalized, valid=normalized is not None)


def _access_points(document: BookDocument) -> list[JsonObject]:
    labels: list[tuple[str, str]] = []
    for contributor in document.contributors:
        labels.append(("author", contributor.name))
        # An author is also found without the years of his life.
        if (bare := _LIFE.sub("", contributor.name)) != contributor.name:
            labels.append(("name", bare))
    for subject in document.subjects:
        topics = subject.split(" -- ")
        labels += [("topic", topic) for topic in topics]
        if len(topics) > 1:
            labels.append(("subject", subject))
    # A series is found whatever the number of the volume.
    labels += [("series", series.partition(" ; ")[0]) for series in document.series]
    labels += [("language", language) for language in document.languages]
    points = {(kind, search.key(label)): label for kind, label in labels}
    points |= {(number.type, number.normalized): number.value for number in document.identifiers if number.normalized}
    return [{"kind": kind, "key": key, "label": label} for (kind, key), label in points.items() if key]


_LIFE: Final = re.compile(
    r",? (?:b\.|d\.|ca\.|fl\.|active|born|died)? ?\(?[0-9]{3,4}\??(?: ?- ?(?:ca\. )?[0-9]{0,4}\??)?\)?$"
)
