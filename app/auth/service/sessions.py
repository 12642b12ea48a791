"""Sessions: opening, refreshing, listing and ending them, and who a token or a cookie belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import ColumnElement, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import letters
from app.auth.identity import Identity
from app.auth.models import Session, SessionKind
from app.auth.schemas import TokenPair
from app.core.direct import Ask, Direct
from app.core.errors import AppError, Conflict, NotFound, Unauthorized
from app.core.mail import Mailer
from app.core.security import InvalidToken, TokenSigner, digest, new_token
from app.users import queries as user_queries
from app.users.models import Role, User

# A client's own twin (a second tab, a retry) is told so; later a spent token means that it, or its successor, was
# stolen.
REUSE_GRACE: Final = timedelta(seconds=10)
# Unused for so long, a session ends. Source: NIST SP 800-63B-4 §2.2.3 asks for one hour at level 2 and leaves it to
# the service at level 1; a shift at the desk is the longest that staff may be away.
IDLE: Final = {
    Role.READER: timedelta(days=14),
    Role.LIBRARIAN: timedelta(hours=12),
    Role.ADMIN: timedelta(hours=12),
}
SEEN_EVERY: Final = timedelta(minutes=5)
_LIVE: Final = (
    select(
        User.id.label("user_id"),
        User.pseudonym,
        User.role,
        Session.id,
        Session.verified_at,
        Session.has_second_factor,
        Session.refreshed_at,
        User.locale,
    )
    .join(Session, Session.user_id == User.id)
    .where(Session.expires_at > bindparam("now"), User.disabled_at.is_(None))
)
_BY_TOKEN: Final = Direct(_LIVE.where(Session.id == bindparam("session_id"), User.id == bindparam("user_id")))
_BY_COOKIE: Final = Direct(
    _LIVE.where(Session.family_digest == bindparam("family_digest"), Session.kind == SessionKind.COOKIE)
)


class InvalidRefreshToken(Unauthorized):
    code, detail = "invalid_refresh_token", "The refresh token is not valid, was used or has expired; sign in again."


class AlreadyRefreshed(Conflict):
    code, detail = "already_refreshed", "This token was used a moment ago; go on with the pair that it gave."


class SessionNotFound(NotFound):
    code, detail = "session_not_found", "There is no such session."


@dataclass(frozen=True, slots=True)
class Device:
    """Where somebody signs in from, for his list of sessions."""

    address: str | None = None
    name: str | None = None


async def open_session(
    session: AsyncSession,
    *,
    user: User,
    signer: TokenSigner,
    life: timedelta,
    now: datetime,
    device: Device = Device(),  # frozen
    has_second_factor: bool = False,
) -> TokenPair:
    """Sign a user in, whose credentials have been verified, with tokens."""
    row = _row(user, SessionKind.TOKEN, life, now, device, has_second_factor=has_second_factor)
    family, secret = new_token(), new_token()
    row.family_digest, row.refresh_digest = digest(family), digest(secret)
    session.add(row)
    await session.flush()
    return _pair(signer, user.id, row.id, f"{family}.{secret}", now)


async def open_cookie_session(
    session: AsyncSession,
    *,
    user: User,
    life: timedelta,
    now: datetime,
    device: Device = Device(),  # frozen
    has_second_factor: bool = False,
) -> str:
    """Sign a user in for the web pages; gives the cookie's value, of which a digest is kept."""
    row = _row(user, SessionKind.COOKIE, life, now, device, has_second_factor=has_second_factor)
    cookie = new_token()
    row.family_digest = digest(cookie)
    session.add(row)
    await session.flush()
    return cookie


async def refresh(
    session: AsyncSession, *, refresh_token: str, signer: TokenSigner, mailer: Mailer, now: datetime
) -> TokenPair | AppError:
    """Exchange a refresh token for a new pair; of many attempts with one token only one succeeds.

    A spent token ends its whole family and tells the user, except within the grace, when it is his own retry. The
    refusal is given, not raised: the end of the family must be committed before the caller raises it.
    """
    family, _, secret = refresh_token.partition(".")
    successor = new_token()
    statement = (
        update(Session)
        .where(*_is_live(family, now), Session.refresh_digest == digest(secret))
        .values(
            previous_digest=Session.refresh_digest,
            refresh_digest=digest(successor),
            refreshed_at=now,
        )
        .returning(Session)
    )
    row = (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()
    if row is None:
        return await _refuse(session, family=family, secret=secret, mailer=mailer, now=now)
    user = await user_queries.find(session, row.user_id)
    if user is None or user.disabled_at:
        return InvalidRefreshToken()
    row.expires_at = _expiry(row.ends_at, Role(user.role), now)
    await session.flush()
    return _pair(signer, row.user_id, row.id, f"{family}.{successor}", now)


async def close_session(session: AsyncSession, *, session_id: UUID | None) -> None:
    """Sign out: the refresh token and every access token of the session stop working at once. Idempotent."""
    await session.execute(delete(Session).where(Session.id == session_id))


async def end_session(session: AsyncSession, *, user_id: UUID, session_id: UUID) -> None:
    """End one of one's own sessions.

    Raises:
        SessionNotFound: there is none, or it is somebody else's.
    """
    statement = delete(Session).where(Session.id == session_id, Session.user_id == user_id).returning(Session.id)
    if (await session.scalars(statement)).one_or_none() is None:
        raise SessionNotFound


async def end_all(session: AsyncSession, *, user_id: UUID, keep: UUID | None = None) -> None:
    """End every session of a user, except the one to keep."""
    statement = delete(Session).where(Session.user_id == user_id)
    await session.execute(statement if keep is None else statement.where(Session.id != keep))


async def of_user(session: AsyncSession, *, user_id: UUID, now: datetime) -> Sequence[Session]:
    """Open sessions, the newest first."""
    statement = (
        select(Session).where(Session.user_id == user_id, Session.expires_at > now).order_by(Session.created_at.desc())
    )
    return (await session.scalars(statement)).all()


async def identify(ask: Ask, *, token: str, signer: TokenSigner, now: datetime) -> Identity:
    """Who the bearer of an access token is, with the role that he has now; one indexed query.

    Raises:
        InvalidToken: forged or expired, the session was ended, or the account is disabled.
    """
    user_id, session_id = signer.read(token, now=now)
    found = await ask(_BY_TOKEN, session_id=session_id, user_id=user_id, now=now)
    if not found:
        raise InvalidToken
    return _identity(found[0])


async def identify_cookie(ask: Ask, *, cookie: str, now: datetime) -> tuple[Identity, bool] | None:
    """Who a cookie belongs to, and whether `touch` is due; None if to nobody any more."""
    found = await ask(_BY_COOKIE, family_digest=digest(cookie), now=now)
    return (_identity(found[0]), found[0].refreshed_at + SEEN_EVERY < now) if found else None


async def touch(session: AsyncSession, *, identity: Identity, now: datetime) -> None:
    """Note that a cookie session is in use, so that it does not end for idleness."""
    row = await session.get(Session, identity.session_id)
    if row is not None:
        row.refreshed_at = now
        row.expires_at = _expiry(row.ends_at, identity.role, now)


async def confirm(session: AsyncSession, *, session_id: UUID, has_second_factor: bool, now: datetime) -> None:
    """Note that the user has just proved again who he is, which dangerous actions ask for."""
    values = {"verified_at": now} | ({"has_second_factor": True} if has_second_factor else {})
    await session.execute(update(Session).where(Session.id == session_id).values(values))


async def _refuse(session: AsyncSession, *, family: str, secret: str, mailer: Mailer, now: datetime) -> AppError:
    row = (await session.scalars(select(Session).where(*_is_live(family, now)))).one_or_none()
    if row is None:
        return InvalidRefreshToken()
    if row.previous_digest == digest(secret) and now - row.refreshed_at <= REUSE_GRACE:
        return AlreadyRefreshed()
    user = await user_queries.find(session, row.user_id)
    await close_session(session, session_id=row.id)
    if user is not None:
        await mailer.post(session, letters.refresh_token_reused(user, address=mailer.address))
    return InvalidRefreshToken()


def _identity(row: Any) -> Identity:
    return Identity(
        row.user_id,
        row.pseudonym,
        Role(row.role),
        row.id,
        verified_at=row.verified_at,
        has_second_factor=row.has_second_factor,
        locale=row.locale,
    )


def _is_live(family: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Session.family_digest == digest(family),
        Session.kind == SessionKind.TOKEN,
        Session.expires_at > now,
    )


def _row(
    user: User, kind: SessionKind, life: timedelta, now: datetime, device: Device, *, has_second_factor: bool
) -> Session:
    return Session(
        id=uuid_utils.uuid7(),
        user_id=user.id,
        kind=kind,
        created_at=now,
        refreshed_at=now,
        verified_at=now,
        has_second_factor=has_second_factor,
        expires_at=_expiry(now + life, Role(user.role), now),
        ends_at=now + life,
        device=device.name,
        address=device.address,
    )


def _expiry(ends_at: datetime | None, role: Role, now: datetime) -> datetime:
    idle = now + IDLE[role]
    return idle if ends_at is None else min(ends_at, idle)


def _pair(signer: TokenSigner, user_id: UUID, session_id: UUID, refresh_token: str, now: datetime) -> TokenPair:
    return TokenPair(
        access_token=signer.sign(user_id=user_id, session_id=session_id, now=now),
        refresh_token=refresh_token,
        token_type="bearer",  # noqa: S106  # RFC 6750's word, no secret
        expires_in=signer.life_seconds,
    )
