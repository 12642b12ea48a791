"""Uploads: taking files in, giving them out, forgetting them, and sweeping up what nothing names any more.

Files are written before their row and removed after it, so that a row always has its files; what a crash leaves is a
file without a row, which `sweep` removes a day later.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database
from app.core.errors import Conflict, NotFound, TooLarge, Unprocessable
from app.core.storage import Storage
from app.uploads import content, queries
from app.uploads.models import Kind, Upload
from app.uploads.schemas import UploadRead, VariantRead

FOLDER: Final = "uploads"
MAX_DOCUMENTS: Final = 50
UNNAMED: Final = {Kind.COVER: "cover", Kind.DOCUMENT: "document"}
# Longer than any upload takes: a file that is younger may still get its row.
ORPHAN_AGE: Final = timedelta(days=1)
BATCH: Final = 500


class UploadNotFound(NotFound):
    code, detail = "upload_not_found", "There is no such upload."


class CoverNotFound(NotFound):
    code, detail = "cover_not_found", "The book has no cover."


class BookRequired(Unprocessable):
    code, detail = "book_required", "A cover needs `book_id`; a document takes none."


class CoverIsAnImage(Unprocessable):
    code, detail = "cover_not_an_image", "A cover must be an image."


class UnsafeFileName(Unprocessable):
    code, detail = "unsafe_file_name", "The file's name must be a name only, without folders."


class TooManyUploads(Conflict):
    code, detail = "too_many_uploads", "An account keeps at most {limit} documents; delete one that is not needed."


@dataclass(frozen=True, slots=True)
class Order:
    """What comes in, from whom and for what."""

    owner_id: UUID
    kind: Kind
    book_id: int | None
    file_name: str | None
    limit_bytes: int
    allowed: tuple[str, ...]


Hold = Callable[[AsyncSession], Awaitable[object]]
"""Locks what the upload hangs on, its owner or its book, and raises if it is not there."""


async def take_in(
    database: Database, storage: Storage, chunks: AsyncIterator[bytes], *, order: Order, hold: Hold, now: datetime
) -> UploadRead:
    """Judge a file by its content, store it and note it down. The same file again is the same upload.

    A new cover takes the place of the book's old one.

    Raises:
        TooLarge, BookRequired, CoverIsAnImage, UnsafeFileName, TooManyUploads, and what `content` raises.
    """
    check_name(order.file_name)
    if (order.kind is Kind.COVER) is not (order.book_id is not None):
        raise BookRequired
    data = await _received(chunks, limit_bytes=order.limit_bytes)
    media_type = await asyncio.to_thread(content.type_of, data, allowed=order.allowed)
    if order.kind is Kind.COVER and not media_type.startswith("image/"):
        raise CoverIsAnImage
    found = await content.remade(data, media_type)
    row = _row(order, data, found, now)
    for name, variant in row.variants.items():
        await storage.put(variant["file"], found.files[name])
    try:
        async with database.transaction() as session:
            await hold(session)
            kept, needless = await _keep(session, row)
    except BaseException:
        await storage.delete(row.files)
        raise
    await storage.delete(needless)
    return read(kept)


def check_name(name: str | None) -> None:
    """Raise UnsafeFileName for what is a path."""
    if name is not None and ("/" in name or "\\" in name or name.strip(". ") == ""):
        raise UnsafeFileName


async def remove(
    database: Database, storage: Storage, *, upload_id: UUID, may_remove: Callable[[Upload], bool]
) -> None:
    """Forget an upload, then its files.

    Raises:
        UploadNotFound: there is none, or it is not the caller's to remove.
    """
    async with database.transaction() as session:
        row = await session.get(Upload, upload_id)
        if row is None or not may_remove(row):
            raise UploadNotFound
        await session.delete(row)
    await storage.delete(row.files)


async def forget_owner(session: AsyncSession, *, owner_id: UUID) -> list[str]:
    """Delete an owner's documents, and his name from covers; gives the files to delete after the commit."""
    statement = delete(Upload).where(Upload.owner_id == owner_id, Upload.kind == Kind.DOCUMENT).returning(Upload)
    gone = list(await session.scalars(statement))
    await session.execute(update(Upload).where(Upload.owner_id == owner_id).values(owner_id=None))
    return [name for row in gone for name in row.files]


async def move(session: AsyncSession, *, source_id: int, target_id: int) -> None:
    """Give a merged book's cover to the book that is kept, if that has none. The caller has locked both."""
    if await queries.cover_of(session, target_id) is None:
        await session.execute(update(Upload).where(Upload.book_id == source_id).values(book_id=target_id))


async def sweep(database: Database, storage: Storage, *, now: datetime) -> int:
    """Delete stored files older than a day that no upload names; gives how many."""
    swept, batch = 0, []
    async for stored in storage.listed(FOLDER):
        if stored.written_at < now - ORPHAN_AGE:
            batch.append(stored.name)
        if len(batch) >= BATCH:
            swept += await _sweep(database, storage, batch)
            batch = []
    return swept + await _sweep(database, storage, batch)


def read(row: Upload) -> UploadRead:
    return UploadRead(
        id=row.id,
        kind=Kind(row.kind),
        book_id=row.book_id,
        file_name=row.file_name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        digest=row.digest,
        variants=[
            VariantRead(name=name, width=of.get("width"), height=of.get("height"), size_bytes=of["size_bytes"])
            for name, of in row.variants.items()
        ],
        created_at=row.created_at,
    )


def variant_of(row: Upload, size: str) -> tuple[str, str]:
    """The stored name and the media type of a size; of a document there is only one."""
    variants = row.variants
    chosen = variants.get(size) or variants.get("original") or variants["large"]
    return str(chosen["file"]), content.IMAGE if "width" in chosen else row.media_type


def download_name(row: Upload, media_type: str) -> str:
    """What the file is called when it is saved: its name, with the ending of what it really is."""
    ending = f".{content.ENDINGS[media_type]}"
    stem = row.file_name.removesuffix(ending)
    return stem + ending


async def _received(chunks: AsyncIterator[bytes], *, limit_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > limit_bytes:
            raise TooLarge(limit_bytes=limit_bytes)
    return bytes(data)


def _row(order: Order, data: bytes, found: content.Remade, now: datetime) -> Upload:
    upload_id, digest = uuid_utils.uuid7(), hashlib.sha256(data).hexdigest()
    ending = content.ENDINGS[found.media_type]
    variants = {
        name: {**facts, "file": f"{FOLDER}/{upload_id}/{digest}-{name}.{ending}"}
        for name, facts in found.variants.items()
    }
    return Upload(
        id=upload_id,
        owner_id=order.owner_id,
        kind=order.kind,
        book_id=order.book_id,
        file_name=order.file_name or UNNAMED[order.kind],
        media_type=found.media_type,
        size_bytes=len(data),
        digest=digest,
        variants=variants,
        created_at=now,
    )


async def _keep(session: AsyncSession, row: Upload) -> tuple[Upload, list[str]]:
    """The row that stands in the end, and the files that nothing needs then."""
    if row.kind == Kind.DOCUMENT:
        assert row.owner_id
        old = await queries.document_of(session, owner_id=row.owner_id, digest=row.digest)
        if old is None and await queries.count_documents(session, row.owner_id) >= MAX_DOCUMENTS:
            raise TooManyUploads(limit=MAX_DOCUMENTS)
    else:
        assert row.book_id
        old = await queries.cover_of(session, row.book_id)
    if old is not None and old.digest == row.digest:
        return old, row.files
    if old is not None:
        await session.delete(old)
        await session.flush()
    session.add(row)
    await session.flush()
    return row, old.files if old else []


async def _sweep(database: Database, storage: Storage, names: list[str]) -> int:
    owners = {name: _upload_of(name) for name in names}
    async with database.reading() as session:
        kept = await queries.existing(session, {owner for owner in owners.values() if owner})
    orphans = [name for name, owner in owners.items() if owner not in kept]
    await storage.delete(orphans)
    return len(orphans)


def _upload_of(name: str) -> UUID | None:
    try:
        return UUID(name.split("/")[1])
    except (IndexError, ValueError):
        return None
