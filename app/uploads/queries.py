"""Reading uploads: what is somebody's own, a book's cover, and which stored files anything still names."""

from collections.abc import Collection
from types import NoneType
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.pagination import Cursor, decode_cursor, question_of, uuid_of
from app.uploads.models import Kind, Upload


def may_see(user_id: UUID, *, sees_documents: bool, sees_covers: bool) -> ColumnElement[bool]:
    """The condition that every statement about uploads carries: one's own, and what one's office lets one see."""
    own = Upload.owner_id == user_id
    if sees_documents and sees_covers:
        return true()
    if sees_covers:
        return or_(own, Upload.kind == Kind.COVER)
    return or_(own, Upload.kind == Kind.DOCUMENT) if sees_documents else own


async def seen(session: AsyncSession, upload_id: UUID, *, condition: ColumnElement[bool]) -> Upload | None:
    """The upload, if it may be seen; what is not his and what is not there are the same."""
    return (await session.scalars(select(Upload).where(Upload.id == upload_id, condition))).one_or_none()


async def cover_of(session: AsyncSession, book_id: int) -> Upload | None:
    statement = select(Upload).where(Upload.book_id == book_id, Upload.kind == Kind.COVER)
    return (await session.scalars(statement)).one_or_none()


async def with_covers(session: AsyncSession, book_ids: Collection[int]) -> set[int]:
    """Those of these books that have a cover of their own."""
    statement = select(Upload.book_id).where(Upload.book_id.in_(book_ids), Upload.kind == Kind.COVER)
    return {book_id for book_id in await session.scalars(statement) if book_id is not None}


async def document_of(session: AsyncSession, *, owner_id: UUID, digest: str) -> Upload | None:
    """The owner's document with these bytes; there is at most one."""
    statement = select(Upload).where(Upload.owner_id == owner_id, Upload.digest == digest, Upload.kind == Kind.DOCUMENT)
    return (await session.scalars(statement)).one_or_none()


async def count_documents(session: AsyncSession, owner_id: UUID) -> int:
    statement = select(func.count()).where(Upload.owner_id == owner_id, Upload.kind == Kind.DOCUMENT)
    return await session.scalar(statement) or 0


async def page(
    session: AsyncSession, *, owner_id: UUID, cursor: str | None, limit: int
) -> tuple[list[Upload], str | None]:
    """What somebody sent, the newest first.

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("uploads", owner_id)
    after = decode_cursor(cursor, question, key=NoneType, row_id=str)
    statement = select(Upload).where(Upload.owner_id == owner_id).order_by(Upload.id.desc()).limit(limit + 1)
    if after:
        statement = statement.where(Upload.id < uuid_of(after))
    found = list(await session.scalars(statement))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, str(found[limit - 1].id)).encode(question)


async def existing(session: AsyncSession, upload_ids: Collection[UUID]) -> set[UUID]:
    """Which of these uploads are there."""
    return set(await session.scalars(select(Upload.id).where(Upload.id.in_(upload_ids))))
