"""Accounts over HTTP, as the desk and the admins keep them. Each look at somebody else's is written down."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import actor_of
from app.api.deps import (
    Letters,
    Now,
    ReaderEditor,
    ReaderViewer,
    RequiredIfMatch,
    ScopeTooNarrow,
    SignedIn,
    Writing,
)
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.api.responses import next_link
from app.audit import service as audit
from app.auth.permissions import Permission
from app.auth.service import Identity, accounts, keys, sessions
from app.branches import service as branches
from app.core.errors import AppError, Forbidden, PreconditionRequired, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.security import nobodys_hash
from app.core.versioning import VersionChanged, etag
from app.users import queries
from app.users import service as users
from app.users.models import Role, User
from app.users.schemas import UserChange, UserCreate, UserPage, UserRead

router = APIRouter(prefix="/users", tags=["users"], route_class=IdempotentRoute)

ADMIN_FIELDS: Final = frozenset({"role", "branches", "disabled"})
_STAFF: Final[tuple[type[AppError], ...]] = (Unauthorized, Forbidden)


class AdminsOnly(Forbidden):
    code, detail = "admins_only", "Only an admin gives roles, disables accounts or changes those of staff."


@router.get("", responses=problems(*_STAFF, InvalidCursor, StaleCursor))
async def list_users(
    request: Request,
    session: Writing,
    who: ReaderViewer,
    response: Response,
    now: Now,
    q: Annotated[str | None, Query(max_length=200, description="An address, or the beginning of a name")] = None,
    card_number: Annotated[str | None, Query(max_length=32)] = None,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> UserPage:
    """Readers, for admins everybody, in the order in which their accounts were made."""
    found, following = await queries.page(
        session, viewer=viewer_of(who), q=q, card_number=card_number, cursor=cursor, limit=limit
    )
    response.headers.update(next_link(request, following))
    for user in found:
        note_view(session, who, user, "list", now)
    return UserPage(items=[await users.read(session, user) for user in found], next=following)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*_STAFF, AdminsOnly, users.EmailTaken, users.CardTaken, branches.UnknownBranch),
)
async def create_user(
    data: UserCreate, session: Writing, who: ReaderEditor, mailer: Letters, response: Response, now: Now
) -> UserRead:
    """Make an account at the desk; its owner chooses the password by a mailed link."""
    if (data.role is not Role.READER or data.branches) and not who.may(Permission.EDIT_STAFF):
        raise AdminsOnly
    for branch in {*data.branches, *([data.home_branch] if data.home_branch else [])}:
        await branches.check_open(session, branch)
    user = await users.create(session, password_hash=nobodys_hash(), now=now, **data.model_dump())
    await accounts.forgot(session, email=user.email, mailer=mailer, now=now)
    audit.note(session, "user_created", actor=actor_of(who), subject=user.pseudonym, now=now)
    response.headers["Location"] = f"users/{user.id}"
    response.headers["ETag"] = etag(user.version)
    return await users.read(session, user)


@router.get("/{user_id}", responses=problems(Unauthorized, ScopeTooNarrow, users.UserNotFound))
async def get_user(user_id: UUID, session: Writing, who: SignedIn, response: Response, now: Now) -> UserRead:
    """One account: one's own, or, for staff, a reader's; its ETag is its version."""
    user = await queries.seen(session, user_id, viewer=viewer_of(who))
    if user is None:
        raise users.UserNotFound
    note_view(session, who, user, "account", now)
    response.headers["ETag"] = etag(user.version)
    return await users.read(session, user)


@router.patch(
    "/{user_id}",
    responses=problems(
        *_STAFF, AdminsOnly, users.UserNotFound, users.EmailTaken, users.CardTaken, users.LastAdmin,
        branches.UnknownBranch, PreconditionRequired, VersionChanged,
    ),
)  # fmt: skip
async def update_user(
    user_id: UUID,
    data: UserChange,
    session: Writing,
    who: ReaderEditor,
    mailer: Letters,
    if_match: RequiredIfMatch,
    response: Response,
    now: Now,
) -> UserRead:
    """Change the fields that are sent: staff those of readers, admins anybody's, roles and branches too."""
    user = await queries.seen(session, user_id, viewer=viewer_of(who))
    if user is None:
        raise users.UserNotFound
    changes = data.model_dump(exclude_unset=True)
    if (user.role != Role.READER or ADMIN_FIELDS & changes.keys()) and not who.may(Permission.EDIT_STAFF):
        raise AdminsOnly
    for branch in {*changes.get("branches", ()), *([changes["home_branch"]] if changes.get("home_branch") else [])}:
        await branches.check_open(session, branch)
    if "disabled" in changes:
        changes["disabled_at"] = now if changes.pop("disabled") else None
    if changes.get("email", user.email) != user.email:
        changes["email_verified_at"] = None
        await accounts.warn_of_new_address(session, user, mailer=mailer)
    changed = await users.change(session, user_id=user_id, changes=changes, if_match=if_match)
    if changed.disabled:
        await sessions.end_all(session, user_id=user_id)
        await keys.revoke_all(session, user_id=user_id)
    audit.note(
        session, "user_changed", actor=actor_of(who), subject=user.pseudonym, now=now, data={"fields": sorted(changes)}
    )
    response.headers["ETag"] = etag(changed.version)
    return changed


def viewer_of(who: Identity) -> queries.Viewer:
    return queries.Viewer(
        user_id=who.user_id,
        sees_readers=who.may(Permission.SEE_READERS),
        sees_everybody=who.may(Permission.SEE_READERS) and who.may(Permission.EDIT_STAFF),
    )


def note_view(session: AsyncSession, who: Identity, user: User, what: str, now: datetime) -> None:
    """Write down that somebody looked at an account that is not his own."""
    if user.id != who.user_id:
        audit.note_view(session, actor=actor_of(who), subject=user.pseudonym, what=what, now=now)


async def look(session: AsyncSession, user_id: UUID, who: Identity, what: str, now: datetime) -> None:
    """Raise UserNotFound unless this account may be seen; write that it was, unless it is the viewer's own."""
    user = await queries.seen(session, user_id, viewer=viewer_of(who))
    if user is None:
        raise users.UserNotFound
    note_view(session, who, user, what, now)
