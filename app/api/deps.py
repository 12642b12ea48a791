"""What endpoints depend on: a session that commits before the answer leaves, the clock, who asks, If-Match."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, Protocol, TypeVar

from fastapi import Depends, Header, Path, Request
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.cookies import identify_page
from app.api.idempotency import Replay, claim_key
from app.auth.permissions import OwnAccount, Permission
from app.auth.service import Identity, keys, sessions
from app.books.models import CATALOGUE
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import Forbidden, PreconditionRequired, Unauthorized
from app.core.limits import Limits
from app.core.mail import Mailer
from app.core.pagination import MAX_ID
from app.core.security import TokenSigner
from app.core.storage import Storage
from app.core.versioning import IfMatch

T = TypeVar("T")
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
CONFIRMED_FOR: Final = timedelta(minutes=15)
MAX_DEVICE_CHARACTERS: Final = 200

_bearer = OAuth2PasswordBearer(tokenUrl="auth/token", auto_error=False)


class ScopeTooNarrow(Forbidden):
    code, detail = "scope_too_narrow", "This key's scopes don't cover what belongs to its account."


class SecondFactorRequired(Forbidden):
    code, detail = "second_factor_required", "Your role needs a second factor: add one under /auth/mfa, sign in again."


class PersonRequired(Forbidden):
    code, detail = "person_required", "A key can't do this; sign in yourself."


class ConfirmationRequired(Forbidden):
    code, detail = "confirmation_required", "Prove first that it is you: POST /auth/confirm, then try again."


async def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def database_of(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def signer_of(request: Request) -> TokenSigner:
    signer: TokenSigner = request.app.state.signer
    return signer


async def mailer_of(request: Request) -> Mailer:
    mailer: Mailer = request.app.state.mailer
    return mailer


async def limits_of(request: Request) -> Limits:
    limits: Limits = request.app.state.limits
    return limits


async def storage_of(request: Request) -> Storage:
    storage: Storage = request.app.state.storage
    return storage


async def host_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def device_of(request: Request) -> sessions.Device:
    name = "".join(letter for letter in request.headers.get("user-agent", "") if letter.isprintable())
    return sessions.Device(
        address=request.client.host if request.client else None, name=name[:MAX_DEVICE_CHARACTERS] or None
    )


async def clock() -> datetime:
    return datetime.now(UTC)


async def _reading(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database.reading() as session:
        yield session


CurrentSettings = Annotated[Settings, Depends(settings_of)]
CurrentDatabase = Annotated[Database, Depends(database_of)]
Signer = Annotated[TokenSigner, Depends(signer_of)]
Letters = Annotated[Mailer, Depends(mailer_of)]
CurrentLimits = Annotated[Limits, Depends(limits_of)]
CurrentStorage = Annotated[Storage, Depends(storage_of)]
FromHost = Annotated[str, Depends(host_of)]
FromDevice = Annotated[sessions.Device, Depends(device_of)]
Now = Annotated[datetime, Depends(clock)]


async def _who(request: Request, token: Annotated[str | None, Depends(_bearer)], now: Now) -> Identity | None:
    """The bearer of the token or key, or None without one; one that is not valid is refused, not ignored.

    Outside the API, on pages, a browser's cookie says it instead.
    """
    settings: Settings = request.app.state.settings
    if token is not None:
        who: Identity | None = await _identify(request, token, now)
    elif request.url.path.startswith(f"{settings.api_v1_str}/"):
        who = None
    else:
        who = await identify_page(request, settings, request.app.state.database, now)
    if who is not None:
        request.state.locale = who.locale
    return who


async def _identify(request: Request, token: str, now: datetime) -> Identity:
    database: Database = request.app.state.database
    if not token.startswith(keys.PREFIX):
        return await sessions.identify(database.ask, token=token, signer=request.app.state.signer, now=now)
    async with database.reading() as session:
        who, is_use_due = await keys.identify(session, token=token, now=now)
    if is_use_due and who.key_id:
        async with database.transaction() as session:
            await keys.note_use(session, key_id=who.key_id, now=now)
    return who


Who = Annotated[Identity | None, Depends(_who)]


async def _writing(request: Request, who: Who, now: Now) -> AsyncIterator[AsyncSession]:
    known: Replay | None = None
    async with request.app.state.database.transaction() as session:
        try:
            await claim_key(request, session, who, now)
        except Replay as replay:
            known = replay  # told after the commit (app/idempotency/service.py: claim)
        else:
            yield session
    if known:
        raise known


# scope="function": the commit happens before the answer leaves. Without it a client was told 201 before the commit,
# 38 of 300 reads through a cache were stale, and a commit that failed still said 200 (measured).
Writing = Annotated[AsyncSession, Depends(_writing, scope="function")]
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]


class Read(Protocol):
    """Runs `work` with a session that only reads."""

    async def __call__(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T: ...


async def _catalogue(request: Request, who: Who) -> Read:
    database: Database = request.app.state.database
    return partial(database.read, kind=CATALOGUE if who is None else None)


# What reads books and nothing that moves (copies, queues): for strangers from a replica, where there is one that has
# all of it; whoever is signed in finds his own changes at once.
Catalogue = Annotated[Read, Depends(_catalogue)]


async def known(who: Who) -> Identity:
    if who is None:
        raise Unauthorized
    return who


Known = Annotated[Identity, Depends(known)]


async def with_factor(settings: CurrentSettings, who: Known) -> Identity:
    """Whoever has the second factor that his role needs; a key was made by somebody who had."""
    if who.is_person and who.role in settings.mfa_required_roles and not who.has_second_factor:
        raise SecondFactorRequired
    return who


WithFactor = Annotated[Identity, Depends(with_factor)]


async def enrolling(request: Request, who: Known) -> Identity:
    """Whoever looks after his own account, even before he has the second factor that his role needs."""
    if not who.may_own(OwnAccount.READ if request.method in SAFE_METHODS else OwnAccount.WRITE):
        raise ScopeTooNarrow
    return who


Enrolling = Annotated[Identity, Depends(enrolling)]


async def signed_in(who: Enrolling, _with_factor: WithFactor) -> Identity:
    """Whoever acts on his own account; a key needs the scope for it."""
    return who


SignedIn = Annotated[Identity, Depends(signed_in)]


async def person(who: Known) -> Identity:
    """Somebody who has signed in himself: keys can't make keys, end sessions or change passwords."""
    if not who.is_person:
        raise PersonRequired
    return who


SignedInPerson = Annotated[Identity, Depends(person)]


async def confirmed(who: SignedInPerson, now: Now) -> Identity:
    """Somebody who has proved a moment ago who he is; dangerous actions ask for it."""
    if who.verified_at is None or now - who.verified_at > CONFIRMED_FOR:
        raise ConfirmationRequired
    return who


ConfirmedPerson = Annotated[Identity, Depends(confirmed)]


def may(permission: Permission) -> Callable[..., Any]:
    """The dependency that lets through whoever has the permission, and gives his identity."""

    async def check(who: WithFactor) -> Identity:
        if not who.may(permission):
            raise Forbidden
        return who

    check.permission = permission  # type: ignore[attr-defined]  # tests read it from the routes
    return check


CatalogueEditor = Annotated[Identity, Depends(may(Permission.EDIT_CATALOGUE))]
CatalogueImporter = Annotated[Identity, Depends(may(Permission.IMPORT_CATALOGUE))]
CopyEditor = Annotated[Identity, Depends(may(Permission.EDIT_COPIES))]
BranchEditor = Annotated[Identity, Depends(may(Permission.EDIT_BRANCHES))]
CalendarEditor = Annotated[Identity, Depends(may(Permission.EDIT_CALENDARS))]
ReaderViewer = Annotated[Identity, Depends(may(Permission.SEE_READERS))]
ReaderEditor = Annotated[Identity, Depends(may(Permission.EDIT_READERS))]
PolicyEditor = Annotated[Identity, Depends(may(Permission.EDIT_POLICIES))]
MoneyTaker = Annotated[Identity, Depends(may(Permission.TAKE_MONEY))]
MoneyWaiver = Annotated[Identity, Depends(may(Permission.WAIVE_MONEY))]

AccountEraser = Annotated[Identity, Depends(may(Permission.ERASE_ACCOUNTS))]
AuditViewer = Annotated[Identity, Depends(may(Permission.SEE_AUDIT))]
EventFollower = Annotated[Identity, Depends(may(Permission.FOLLOW_EVENTS))]
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
