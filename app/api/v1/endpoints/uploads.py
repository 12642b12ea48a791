"""Covers and documents over HTTP. What leaves is an attachment that no browser runs or frames."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import Field
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import actor_of
from app.api.deps import (
    CurrentDatabase,
    CurrentSettings,
    CurrentStorage,
    Now,
    Reading,
    RowId,
    ScopeTooNarrow,
    SignedIn,
    Who,
    Writing,
)  # fmt: skip
from app.api.errors import problems
from app.api.file_body import FILE_BODY, FileBody, NoFileSent
from app.api.responses import CATALOGUE, next_link
from app.audit import service as audit
from app.auth.permissions import Permission
from app.auth.service import Identity
from app.books import service as books
from app.core.errors import Forbidden, TooLarge, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.proxies import SENDS_FILES
from app.core.storage import FileMissing, Storage, StorageUnavailable
from app.uploads import content, queries
from app.uploads import service as uploads
from app.uploads.models import Kind, Upload
from app.uploads.schemas import Size, UploadPage, UploadQuery, UploadRead
from app.users import queries as user_queries

router = APIRouter(tags=["uploads"])

SANDBOX: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
# Where nginx/snippets/locations.conf has the folder; nobody outside reaches it.
PROXYS_FOLDER: Final = "/_files/"
_OWN: Final = (Unauthorized, ScopeTooNarrow)
_FILE: Final = {"schema": {"type": "string", "format": "binary"}}
_FILES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file", "content": dict.fromkeys(content.ENDINGS, _FILE)}
}


@router.post(
    "/uploads",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *_OWN, Forbidden, NoFileSent, TooLarge, uploads.BookRequired, uploads.CoverIsAnImage, uploads.UnsafeFileName,
        uploads.TooManyUploads, books.BookNotFound, books.BookGone, content.FileEmpty, content.UnsupportedFile,
        content.FileTypeNotAllowed, content.FileIsTwoThings, content.ImageUnreadable, content.TooManyPixels,
        StorageUnavailable,
    ),
    openapi_extra=FILE_BODY,
)  # fmt: skip
async def upload_file(
    request: Request,
    query: Annotated[UploadQuery, Query()],
    database: CurrentDatabase,
    storage: CurrentStorage,
    settings: CurrentSettings,
    who: SignedIn,
    response: Response,
    now: Now,
) -> UploadRead:
    """Send a document of one's own, or, with the right to edit the catalogue, a book's cover.

    The type is found from the content; images are made anew in three sizes. The same file again is the same upload.
    """
    if query.kind is Kind.COVER and not who.may(Permission.EDIT_CATALOGUE):
        raise Forbidden
    order = uploads.Order(
        owner_id=who.user_id,
        kind=query.kind,
        book_id=query.book_id,
        file_name=query.file_name,
        limit_bytes=settings.max_upload_size,
        allowed=settings.allowed_file_types,
    )

    async def hold(session: AsyncSession) -> None:
        if query.book_id is not None:
            await books.hold(session, book_id=query.book_id)
        elif await user_queries.locked(session, who.user_id) is None:
            raise Unauthorized

    kept = await uploads.take_in(database, storage, FileBody(request).chunks(), order=order, hold=hold, now=now)
    response.headers["Location"] = f"{settings.api_v1_str}/uploads/{kept.id}"
    return kept


@router.get("/uploads", responses=problems(*_OWN, InvalidCursor, StaleCursor))
async def list_my_uploads(
    request: Request,
    session: Reading,
    who: SignedIn,
    response: Response,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> UploadPage:
    """What I sent, the newest first."""
    found, following = await queries.page(session, owner_id=who.user_id, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return UploadPage(items=[uploads.read(row) for row in found], next=following)


@router.get("/uploads/{upload_id}", responses=problems(*_OWN, uploads.UploadNotFound))
async def get_upload(upload_id: UUID, session: Writing, who: SignedIn, now: Now) -> UploadRead:
    """What is known of an upload: one's own, or, for staff, a reader's document; he can see who looked."""
    return uploads.read(await _seen(session, upload_id, who, now))


@router.get(
    "/uploads/{upload_id}/content",
    response_model=bytes,
    response_class=Response,
    responses={**problems(*_OWN, uploads.UploadNotFound, FileMissing, StorageUnavailable), **_FILES},
)
async def download_upload(
    request: Request,
    upload_id: UUID,
    session: Writing,
    storage: CurrentStorage,
    who: SignedIn,
    now: Now,
    size: Size = "large",
) -> Response:
    """The file itself, to be saved; of an image, in one of its sizes."""
    row = await _seen(session, upload_id, who, now)
    return await _answer(request, storage, row, size, {"Cache-Control": "no-store"})


@router.delete(
    "/uploads/{upload_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*_OWN, uploads.UploadNotFound, StorageUnavailable),
)
async def delete_upload(upload_id: UUID, database: CurrentDatabase, storage: CurrentStorage, who: SignedIn) -> None:
    """Delete one's own document, or, with the right to edit the catalogue, a cover."""

    def may_remove(row: Upload) -> bool:
        if row.kind == Kind.COVER:
            return who.may(Permission.EDIT_CATALOGUE)
        return row.owner_id == who.user_id

    await uploads.remove(database, storage, upload_id=upload_id, may_remove=may_remove)


@router.get(
    "/books/{book_id}/cover",
    response_model=bytes,
    response_class=Response,
    responses={
        **problems(books.BookNotFound, books.BookGone, uploads.CoverNotFound, FileMissing, StorageUnavailable),
        **_FILES,
        304: {"description": "The caller has it already"},
    },
)
async def get_cover(
    book_id: RowId, request: Request, session: Reading, storage: CurrentStorage, who: Who, size: Size = "medium"
) -> Response:
    """A book's cover in one of three sizes, as WebP; its ETag is the digest."""
    await books.get(session, book_id=book_id, with_suppressed=bool(who and who.is_staff))
    row = await queries.cover_of(session, book_id)
    if row is None:
        raise uploads.CoverNotFound
    headers = {"ETag": f'"{row.digest[:32]}-{size}"', "Cache-Control": CATALOGUE, "Vary": "Authorization"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return await _answer(request, storage, row, size, headers)


async def _seen(session: AsyncSession, upload_id: UUID, who: Identity, now: Now) -> Upload:
    row = await queries.seen(session, upload_id, condition=_visible(who))
    if row is None:
        raise uploads.UploadNotFound
    if row.kind == Kind.DOCUMENT and row.owner_id is not None and row.owner_id != who.user_id:
        owner = await user_queries.find(session, row.owner_id)
        if owner is not None:
            audit.note_view(session, actor=actor_of(who), subject=owner.pseudonym, what="document", now=now)
    return row


def _visible(who: Identity) -> ColumnElement[bool]:
    return queries.may_see(
        who.user_id,
        sees_documents=who.may(Permission.SEE_READERS),
        sees_covers=who.may(Permission.EDIT_CATALOGUE),
    )


async def _answer(request: Request, storage: Storage, row: Upload, size: Size, headers: Mapping[str, str]) -> Response:
    """The file, or, where the proxy sends files, which one: the bytes don't go through here then."""
    name, media_type = uploads.variant_of(row, size)
    saved_as = quote(uploads.download_name(row, media_type), safe="")
    told = {
        **headers,
        "Content-Disposition": f"attachment; filename*=UTF-8''{saved_as}",
        "Content-Security-Policy": SANDBOX,
    }
    if storage.is_folder and SENDS_FILES in request.scope:
        return Response(media_type=media_type, headers=told | {"X-Accel-Redirect": PROXYS_FOLDER + quote(name)})
    return Response(await storage.read(name), media_type=media_type, headers=told)
