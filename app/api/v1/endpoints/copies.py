"""Copies over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import Circulation
from app.api.deps import CopyEditor, CurrentSettings, Now, Reading, RequiredIfMatch, RowId, Writing
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.api.responses import next_link
from app.auth import service as auth
from app.auth.service import Identity
from app.bookings import service as bookings
from app.books import service as books
from app.branches import service as branches
from app.copies import queries
from app.copies import service as copies
from app.copies.schemas import CopyPage, CopyRead, CopyUpdate
from app.core.errors import AppError, Conflict, Forbidden, PreconditionRequired, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.versioning import VersionChanged, etag
from app.users import queries as user_queries
from app.users.models import Role

router = APIRouter(prefix="/copies", tags=["copies"], route_class=IdempotentRoute)

_STAFF: tuple[type[AppError], ...] = (Unauthorized, Forbidden, auth.NotYourBranch)
_CHANGE: tuple[type[AppError], ...] = (
    *_STAFF, copies.CopyNotFound, copies.CopyGone, PreconditionRequired, VersionChanged
)  # fmt: skip


class NoBranch(Conflict):
    code, detail = "no_branch", "The library has no open branch that you work in; open one, or name one."


async def branch_for(session: AsyncSession, who: Identity, asked: str | None) -> str:
    """The branch that a copy goes to: the one asked for, the librarian's own, or the oldest.

    Raises:
        NotYourBranch, NoBranch.
    """
    if asked is not None:
        await auth.check_branch(session, identity=who, branch_id=asked)
        return asked
    own = await user_queries.staff_branches(session, who.user_id)
    candidates = [branch.id for branch in await branches.all_open(session)]
    if who.role is not Role.ADMIN:
        candidates = [branch_id for branch_id in candidates if branch_id in own]
    if not candidates:
        raise NoBranch
    return next((branch_id for branch_id in candidates if branch_id in own), candidates[0])


@router.get("", responses=problems(*_STAFF, InvalidCursor, StaleCursor))
async def list_copies(
    request: Request,
    session: Reading,
    who: CopyEditor,
    settings: CurrentSettings,
    response: Response,
    barcode: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> CopyPage:
    """All copies in the order in which they were added, or the one with a barcode."""
    del who
    found, following = await queries.page(session, book_id=None, barcode=barcode, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return CopyPage(items=[copies.read(copy, currency=settings.currency) for copy in found], next=following)


@router.get("/{copy_id}", responses=problems(*_STAFF, copies.CopyNotFound, copies.CopyGone))
async def get_copy(
    copy_id: RowId, session: Reading, who: CopyEditor, settings: CurrentSettings, response: Response
) -> CopyRead:
    """One copy; its ETag is its version."""
    del who
    copy = await copies.get(session, copy_id=copy_id)
    response.headers["ETag"] = etag(copy.version)
    return copies.read(copy, currency=settings.currency)


@router.patch("/{copy_id}", responses=problems(*_CHANGE, copies.BarcodeTaken, branches.UnknownBranch))
async def update_copy(
    copy_id: RowId,
    data: CopyUpdate,
    session: Writing,
    who: CopyEditor,
    if_match: RequiredIfMatch,
    settings: CurrentSettings,
    context: Circulation,
    response: Response,
) -> CopyRead:
    """Change the fields that are sent; the status changes by the desk's verbs."""
    book_id = (await copies.get(session, copy_id=copy_id)).book_id
    await books.hold(session, book_id=book_id)
    copy = await copies.present(session, copy_id)
    await auth.check_branch(session, identity=who, branch_id=copy.branch_id)
    changes = data.model_dump(exclude_unset=True)
    if changes.get("branch"):
        await auth.check_branch(session, identity=who, branch_id=changes["branch"])
    copy = await copies.change(session, copy_id=copy_id, changes=changes, if_match=if_match, currency=settings.currency)
    await bookings.settle(session, book_id=book_id, context=context)
    response.headers["ETag"] = etag(copy.version)
    return copies.read(copy, currency=settings.currency)


@router.delete("/{copy_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(*_CHANGE, copies.CopyInUse))
async def delete_copy(
    copy_id: RowId, session: Writing, who: CopyEditor, if_match: RequiredIfMatch, settings: CurrentSettings, now: Now
) -> None:
    """Remove a copy that is neither lent nor promised; it can be restored for 30 days."""
    copy = await copies.present(session, copy_id)
    await auth.check_branch(session, identity=who, branch_id=copy.branch_id)
    await copies.remove(session, copy_id=copy_id, if_match=if_match, currency=settings.currency, now=now)


@router.post(
    "/{copy_id}/restore",
    responses=problems(*_STAFF, copies.CopyNotFound, copies.BarcodeTaken, books.UndoTooLate, books.BookGone),
)
async def restore_copy(
    copy_id: RowId,
    session: Writing,
    who: CopyEditor,
    settings: CurrentSettings,
    context: Circulation,
    response: Response,
) -> CopyRead:
    """Undo a removal; the copy goes to whoever waits for it."""
    copy = await copies.restore(session, copy_id=copy_id, now=context.now)
    await auth.check_branch(session, identity=who, branch_id=copy.branch_id)
    await bookings.settle(session, book_id=copy.book_id, context=context)
    response.headers["ETag"] = etag(copy.version)
    return copies.read(copy, currency=settings.currency)
