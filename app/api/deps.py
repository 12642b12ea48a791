"""What endpoints depend on: a session that commits before the answer leaves, the clock, who asks, If-Match."""

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Path, Request
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.idempotency import claim_key
from app.auth import service as auth
from app.auth.permissions import Permission
from app.auth.service import Identity
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import Forbidden, PreconditionRequired, Unauthorized
from app.core.pagination import MAX_ID
from app.core.security import TokenSigner
from app.core.versioning import IfMatch

_bearer = OAuth2PasswordBearer(tokenUrl="auth/token", auto_error=False)


async def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def database_of(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def signer_of(request: Request) -> TokenSigner:
    signer: TokenSigner = request.app.state.signer
    return signer


async def clock() -> datetime:
    return datetime.now(UTC)


async def _reading(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database.reading() as session:
        yield session


CurrentSettings = Annotated[Settings, Depends(settings_of)]
CurrentDatabase = Annotated[Database, Depends(database_of)]
Signer = Annotated[TokenSigner, Depends(signer_of)]
Now = Annotated[datetime, Depends(clock)]


async def _who(request: Request, token: Annotated[str | None, Depends(_bearer)], now: Now) -> Identity | None:
    """The bearer of the token, or None without one; a token that is not valid is refused, not ignored."""
    if token is None:
        return None
    async with request.app.state.database.reading() as session:
        return await auth.identify(session, token=token, signer=request.app.state.signer, now=now)


Who = Annotated[Identity | None, Depends(_who)]


async def _writing(request: Request, who: Who, now: Now) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database.transaction() as session:
        await claim_key(request, session, who, now)
        yield session


# scope="function": the commit happens before the answer leaves. Without it a client was told 201 before the commit,
# 38 of 300 reads through a cache were stale, and a commit that failed still said 200 (measured).
Writing = Annotated[AsyncSession, Depends(_writing, scope="function")]
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]


async def signed_in(who: Who) -> Identity:
    if who is None:
        raise Unauthorized
    return who


SignedIn = Annotated[Identity, Depends(signed_in)]


def may(permission: Permission) -> Callable[..., Any]:
    """The dependency that lets through whoever has the permission, and gives his identity."""

    async def check(who: SignedIn) -> Identity:
        if not who.may(permission):
            raise Forbidden
        return who

    check.permission = permission  # type: ignore[attr-defined]  # tests/house reads it from the routes
    return check


CatalogueEditor = Annotated[Identity, Depends(may(Permission.EDIT_CATALOGUE))]
CopyEditor = Annotated[Identity, Depends(may(Permission.EDIT_COPIES))]
BranchEditor = Annotated[Identity, Depends(may(Permission.EDIT_BRANCHES))]
CalendarEditor = Annotated[Identity, Depends(may(Permission.EDIT_CALENDARS))]
PolicyEditor = Annotated[Identity, Depends(may(Permission.EDIT_POLICIES))]
MoneyTaker = Annotated[Identity, Depends(may(Permission.TAKE_MONEY))]
MoneyWaiver = Annotated[Identity, Depends(may(Permission.WAIVE_MONEY))]

DeskStaff = Annotated[Identity, Depends(may(Permission.USE_DESK))]

_TAG: Final = re.compile(r'\s*(?:W/)?"?(\d{1,18})(?:-(?:br|gzip))?"?\s*')


async def optional_if_match(
    if_match: Annotated[str | None, Header(description='The ETag that was read, such as "3", or *')] = None,
) -> IfMatch:
    """The versions named; None for `*` or no header. Weak, coded and unquoted spellings name the same version."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = [_TAG.fullmatch(tag) for tag in if_match.split(",")]
    return frozenset(int(match.group(1)) for match in found if match)


async def required_if_match(
    if_match: Annotated[str | None, Header(description='The ETag that was read, such as "3", or *')] = None,
) -> IfMatch:
    if if_match is None:
        raise PreconditionRequired
    return await optional_if_match(if_match)


RequiredIfMatch = Annotated[IfMatch, Depends(required_if_match)]
OptionalIfMatch = Annotated[IfMatch, Depends(optional_if_match)]
RowId = Annotated[int, Path(ge=1, le=MAX_ID)]
