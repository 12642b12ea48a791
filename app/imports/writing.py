"""Writing a batch: which records are new, changed, unchanged or doubtful, and what follows, in few statements."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.books import identifiers
from app.books import queries as book_queries
from app.books import service as books
from app.books.models import Book, SourceRecord
from app.books.schemas import BookCreate
from app.core.schemas import JsonObject
from app.imports.merging import merge
from app.imports.reading import marc_record
from app.imports.schemas import Incoming, RecordVerdict, Unread, Verdict


async def write(
    session: AsyncSession, batch: Sequence[Incoming | Unread], *, overwrites: bool, now: datetime
) -> list[RecordVerdict]:
    """Write the records of one batch, in which no key stands twice; their verdicts in the batch's order.

    Locks the books that are updated.
    """
    readable = [record for record in batch if isinstance(record, Incoming)]
    known = await book_queries.source_records(session, [record.key for record in readable])
    verdicts = [
        verdict_of(record.position, Verdict.REJECTED, control_number=record.control_number, reason=record.reason)
        for record in batch
        if isinstance(record, Unread)
    ]
    new = [record for record in readable if record.key not in known and not record.is_deleted]
    verdicts += await _add(session, new, now)
    for record in readable:
        kept = known.get(record.key)
        if kept is None:
            if record.is_deleted:
                verdicts.append(_judged(record, Verdict.UNCHANGED, reason="deleted upstream, and not in this library"))
        elif kept.digest == record.digest and not overwrites:
            verdicts.append(_judged(record, Verdict.UNCHANGED, book_id=kept.book_id))
        else:
            verdicts.append(await _update(session, record, kept, overwrites=overwrites, now=now))
    return sorted(verdicts, key=lambda verdict: verdict.position)


def verdict_of(position: int, verdict: Verdict, **facts: object) -> RecordVerdict:
    nothing: JsonObject = {
        "control_number": None,
        "book_id": None,
        "reason": None,
        "changed": [],
        "kept_local": [],
        "duplicates": [],
    }
    return RecordVerdict.model_validate(nothing | {"position": position, "verdict": verdict} | facts)


async def _add(session: AsyncSession, new: Sequence[Incoming], now: datetime) -> list[RecordVerdict]:
    """Put new records into the catalogue with their sources; one that shares an ISBN with another book is doubtful."""
    if not new:
        return []
    isbns = [_isbns(record.book) for record in new]
    holders = await book_queries.holders(session, "isbn", {isbn for found in isbns for isbn in found})
    added = await books.add_many(session, books=[record.book for record in new], now=now)
    await books.keep_sources(session, records=map(_source_record, new, added), now=now)
    verdicts = []
    for record, book, own in zip(new, added, isbns, strict=True):
        duplicates = sorted({holder for isbn in own for holder in holders.get(isbn, ())})
        verdict = Verdict.POSSIBLE_DUPLICATE if duplicates else Verdict.IMPORTED
        verdicts.append(_judged(record, verdict, book_id=book.id, duplicates=duplicates))
        for isbn in own:
            holders.setdefault(isbn, []).append(book.id)
    return verdicts


async def _update(
    session: AsyncSession, record: Incoming, kept: SourceRecord, *, overwrites: bool, now: datetime
) -> RecordVerdict:
    book = await books.hold(session, book_id=kept.book_id)
    before = marc_record(kept.record, position=record.position)
    here = books.fields_of(book)
    merged = merge(
        before=before.book if isinstance(before, Incoming) else here,
        upstream=record.book,
        here=here,
        overwrites=overwrites,
    )
    if merged.changes:
        await books.change(session, book_id=book.id, changes=merged.changes, if_match=None, now=now)
    kept.digest, kept.record, kept.format, kept.imported_at = record.digest, record.record, record.record_format, now
    verdict = Verdict.UPDATED if merged.changes else Verdict.UNCHANGED
    return _judged(record, verdict, book_id=book.id, changed=sorted(merged.changes), kept_local=merged.kept_local)


def _judged(record: Incoming, verdict: Verdict, **facts: object) -> RecordVerdict:
    return verdict_of(record.position, verdict, control_number=record.control_number, **facts)


def _isbns(book: BookCreate) -> list[str]:
    numbers = (identifiers.normalize("isbn", item.value) for item in book.identifiers if item.type == "isbn")
    return list(dict.fromkeys(number for number in numbers if number))


def _source_record(record: Incoming, book: Book) -> dict[str, object]:
    return {
        "book_id": book.id,
        "source": record.source,
        "control_number": record.control_number,
        "digest": record.digest,
        "format": record.record_format,
        "record": record.record,
    }
