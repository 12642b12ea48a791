"""Writing a batch: which records are new, changed, unchanged or doubtful, and what follows, in few statements."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.service import SYSTEM
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.books import queries as book_queries
from app.books import records
from app.books import service as books
from app.books.models import SourceRecord
from app.books.schemas import BookCreate
from app.books.service import KeptRecord
from app.branches import service as branches
from app.copies import queries as copy_queries
from app.copies import service as copies
from app.copies.schemas import CopyCreate
from app.core.schemas import JsonObject
from app.imports import ownership
from app.imports.formats.reading import kept_book
from app.imports.merging import Merge, merge
from app.imports.schemas import FieldChange, Format, Incoming, Options, RecordVerdict, Unread, Verdict
from app.policies import service as policies

GONE_UPSTREAM = "deleted upstream"


async def write(
    session: AsyncSession,
    batch: Sequence[Incoming | Unread],
    *,
    options: Options,
    now: datetime,
) -> list[RecordVerdict]:
    """Write the records of one batch, in which no key stands twice; their verdicts in the batch's order.

    Locks the books that are updated.
    """
    readable = [record for record in batch if isinstance(record, Incoming)]
    known = await records.kept(session, [record.key for record in readable])
    known |= await _made_here(session, [record for record in readable if record.key not in known], now)
    verdicts = [
        verdict_of(record.position, Verdict.REJECTED, control_number=record.control_number, reason=record.reason)
        for record in batch
        if isinstance(record, Unread)
    ]
    verdicts += await _add(session, [record for record in readable if record.key not in known], now)
    for record in readable:
        if (kept := known.get(record.key)) is not None:
            verdicts.append(await _compare(session, record, kept, options, now))
    verdicts = await _shelve(session, {record.position: record for record in readable}, verdicts, options, now)
    return sorted(verdicts, key=lambda verdict: verdict.position)


async def _made_here(
    session: AsyncSession, unknown: Sequence[Incoming], now: datetime
) -> dict[tuple[str, str], SourceRecord]:
    """Records that this library exported, of books that were made in it: from now on such a book has a source."""
    candidates = [record for record in unknown if record.source.startswith(ownership.PREFIX)]
    if not candidates:
        return {}
    own = await ownership.own_source(session)
    ours = {
        int(record.control_number): record
        for record in candidates
        if record.source == own and record.control_number.isascii() and record.control_number.isdecimal()
    }
    found = {}
    for book in await book_queries.present(session, list(ours)):
        here = books.fields_of(book).model_dump_json().encode()
        found[ours[book.id].key] = SourceRecord(
            book_id=book.id,
            source=own,
            control_number=str(book.id),
            digest="",
            format=Format.JSONL,
            record=here,
            imported_at=now,
        )
    session.add_all(found.values())
    return found


def verdict_of(position: int, verdict: Verdict, **facts: object) -> RecordVerdict:
    nothing: JsonObject = {"control_number": None, "book_id": None, "reason": None, "copies_added": 0}
    nothing |= {"changes": {}, "kept_local": [], "duplicates": [], "copies_refused": []}
    return RecordVerdict.model_construct(**(nothing | {"position": position, "verdict": verdict} | facts))


async def _add(session: AsyncSession, unknown: Sequence[Incoming], now: datetime) -> list[RecordVerdict]:
    """Put new records into the catalogue with their sources; one that shares an ISBN with another book is doubtful."""
    reason = f"{GONE_UPSTREAM}, and not in this library"
    verdicts = [_judged(record, Verdict.UNCHANGED, reason=reason) for record in unknown if record.is_deleted]
    new = [(record, record.book) for record in unknown if record.book is not None and not record.is_deleted]
    if not new:
        return verdicts
    isbns = [book.access.keys("isbn") for _, book in new]
    holders = await book_queries.holders(session, "isbn", {isbn for found in isbns for isbn in found})
    ids = await books.add_many(session, books=[book for _, book in new])
    sources = (_source_record(record, book_id) for (record, _), book_id in zip(new, ids, strict=True))
    await books.keep_sources(session, records=sources, now=now)
    for (record, _), book_id, own in zip(new, ids, isbns, strict=True):
        duplicates = sorted({holder for isbn in own for holder in holders.get(isbn, ())})
        verdict = Verdict.POSSIBLE_DUPLICATE if duplicates else Verdict.IMPORTED
        verdicts.append(_judged(record, verdict, book_id=book_id, duplicates=duplicates))
        for isbn in own:
            holders.setdefault(isbn, []).append(book_id)
    return verdicts


async def _compare(
    session: AsyncSession, record: Incoming, kept: SourceRecord, options: Options, now: datetime
) -> RecordVerdict:
    if record.is_deleted:
        return await _withdraw(session, record, kept, now)
    if kept.digest == record.digest and not options.overwrites:
        return _judged(record, Verdict.UNCHANGED, book_id=kept.book_id)
    upstream = kept_book(record.record_format, record.record)
    if upstream is None:
        return _judged(record, Verdict.UNCHANGED, book_id=kept.book_id)
    book = books.present(await books.locked(session, kept.book_id))
    here = books.fields_of(book)
    before = kept_book(kept.format, kept.record) or here
    merged = merge(before=before, upstream=upstream, here=here, overwrites=options.overwrites)
    if merged.changes:
        await books.change(session, book_id=book.id, changes=merged.changes, if_match=None, now=now)
    kept.digest, kept.record, kept.format, kept.imported_at = record.digest, record.record, record.record_format, now
    verdict = Verdict.UPDATED if merged.changes else Verdict.UNCHANGED
    changes = _shown(merged, here)
    return _judged(record, verdict, book_id=book.id, changes=changes, kept_local=merged.kept_local)


async def _withdraw(session: AsyncSession, record: Incoming, kept: SourceRecord, now: datetime) -> RecordVerdict:
    """Hide a book that upstream deleted, if nothing hangs on it."""
    book = books.present(await books.locked(session, kept.book_id))
    if book.suppressed:
        return _judged(record, Verdict.UNCHANGED, book_id=book.id, reason=f"{GONE_UPSTREAM}, suppressed already")
    in_use = ["copies"] if await copy_queries.any_of(session, book_id=book.id) else []
    in_use += ["open bookings"] if await booking_queries.open_of_books(session, [book.id]) else []
    if in_use:
        reason = f"{GONE_UPSTREAM}, kept because it has {' and '.join(in_use)}"
        return _judged(record, Verdict.UNCHANGED, book_id=book.id, reason=reason)
    await books.change(session, book_id=book.id, changes={"suppressed": True}, if_match=None, now=now)
    changes = {"suppressed": FieldChange(before=False, after=True)}
    return _judged(record, Verdict.UPDATED, book_id=book.id, reason=GONE_UPSTREAM, changes=changes)


async def _shelve(
    session: AsyncSession,
    records: dict[int, Incoming],
    verdicts: list[RecordVerdict],
    options: Options,
    now: datetime,
) -> list[RecordVerdict]:
    """Add the copies that stand in the records; a barcode that is taken and a branch that isn't there are told."""
    held = {verdict.position: verdict for verdict in verdicts if verdict.position in records and verdict.book_id}
    barcodes = [copy.barcode for position in held for copy in records[position].copies]
    problems = any(records[position].problems for position in held)
    if not barcodes and not problems:
        return verdicts
    taken = await copy_queries.owners(session, barcodes)
    known_branches = [branch.id for branch in await branches.all_open(session)]
    added: list[tuple[int, CopyCreate]] = []
    told: list[RecordVerdict] = []
    for verdict in verdicts:
        record = records.get(verdict.position)
        if record is None or verdict.book_id is None:
            told.append(verdict)
            continue
        refused, before = list(record.problems), len(added)
        for copy in record.copies:
            owner = taken.get(copy.barcode)
            if owner is None and (copy.branch is None or copy.branch in known_branches):
                added.append((verdict.book_id, copy))
                taken[copy.barcode] = verdict.book_id
            elif owner is None:
                refused.append(f"barcode {copy.barcode}: there is no branch '{copy.branch}'")
            elif owner != verdict.book_id:
                refused.append(f"barcode {copy.barcode}: a copy of book {owner} has it")
        told.append(verdict.model_copy(update={"copies_added": len(added) - before, "copies_refused": refused}))
    await copies.add_many(session, copies=added, branch_id=options.branch_id or known_branches[0], now=now)
    new = {verdict.book_id for verdict in told if verdict.verdict in {Verdict.IMPORTED, Verdict.POSSIBLE_DUPLICATE}}
    await _hand_out(session, sorted({book_id for book_id, _ in added} - new), options, now)
    return told


async def _hand_out(session: AsyncSession, book_ids: Sequence[int], options: Options, now: datetime) -> None:
    """Give new copies of books that were here to whoever waits for them."""
    if not book_ids:
        return
    context = Context(now, SYSTEM, await policies.rulebook(session), options.timezone)
    for book_id in book_ids:
        await books.hold(session, book_id=book_id)
        await bookings.settle(session, book_id=book_id, context=context)


def _shown(merged: Merge, here: BookCreate) -> dict[str, FieldChange]:
    """Each changed field as it was and as it is."""
    local = here.model_dump()
    return {name: FieldChange(before=local[name], after=value) for name, value in merged.changes.items()}


def _judged(record: Incoming, verdict: Verdict, **facts: object) -> RecordVerdict:
    return verdict_of(record.position, verdict, control_number=record.control_number, **facts)


def _source_record(record: Incoming, book_id: int) -> KeptRecord:
    record_format = record.record_format.value
    return KeptRecord(book_id, *record.key, record.digest, record_format, record.record)
