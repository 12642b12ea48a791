"""Signing in: registration, sessions and who a request comes from."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import Session
from app.auth.permissions import GRANTS, Permission
from app.auth.schemas import Registration, TokenPair
from app.core.errors import Forbidden, Unauthorized
from app.core.security import InvalidToken, TokenSigner, digest, new_token
from app.users import queries as user_queries
from app.users import service as users
from app.users.models import Role, User


class WrongCredentials(Unauthorized):
    code, detail = "wrong_credentials", "The address or the password is wrong."


class InvalidRefreshToken(Unauthorized):
    code, detail = "invalid_refresh_token", "The refresh token is not valid, was used or has expired; sign in again."


class RegistrationClosed(Forbidden):
    code, detail = "registration_closed", "This library makes accounts at the desk only."


class NotYourBranch(Forbidden):
    code, detail = "not_your_branch", "You don't work in the branch '{branch}'."


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from."""

    user_id: UUID
    session_id: UUID
    role: Role
    pseudonym: UUID

    def may(self, permission: Permission) -> bool:
        return permission in GRANTS[self.role]

    @property
    def is_staff(self) -> bool:
        return self.role is not Role.READER


async def register(session: AsyncSession, *, data: Registration, password_hash: str, now: datetime) -> User:
    """Make a reader's account; the password was hashed before the transaction, as that takes long.

    Raises:
        EmailTaken.
    """
    return await users.create(
        session,
        email=data.email,
        password_hash=password_hash,
        full_name=data.full_name,
        role=Role.READER,
        now=now,
    )


async def open_session(
    session: AsyncSession, *, user_id: UUID, signer: TokenSigner, life: timedelta, now: datetime
) -> TokenPair:
    """Sign a user in, whose password has been verified."""
    refresh_token = new_token()
    row = Session(
        id=uuid_utils.uuid7(),
        user_id=user_id,
        refresh_digest=digest(refresh_token),
        created_at=now,
        refreshed_at=now,
        expires_at=now + life,
    )
    session.add(row)
    await session.flush()
    return _pair(signer, user_id, row.id, refresh_token, now)


async def refresh(session: AsyncSession, *, refresh_token: str, signer: TokenSigner, now: datetime) -> TokenPair:
    """Exchange a refresh token for a new pair; of two attempts with one token only one succeeds.

    Raises:
        InvalidRefreshToken.
    """
    successor = new_token()
    statement = (
        update(Session)
        .where(Session.refresh_digest == digest(refresh_token), Session.expires_at > now)
        .values(refresh_digest=digest(successor), refreshed_at=now)
        .returning(Session.id, Session.user_id)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise InvalidRefreshToken
    return _pair(signer, found.user_id, found.id, successor, now)


async def close_session(session: AsyncSession, *, session_id: UUID) -> None:
    """Sign out: the refresh token and every access token of the session stop working at once. Idempotent."""
    await session.execute(delete(Session).where(Session.id == session_id))


async def close_sessions(session: AsyncSession, *, user_id: UUID) -> None:
    """Sign an account out everywhere. Idempotent."""
    await session.execute(delete(Session).where(Session.user_id == user_id))


async def purge(session: AsyncSession, *, now: datetime, limit: int) -> int:
    """Delete sessions that have expired, `limit` at most; gives how many. Concurrent callers share the work."""
    expired = (
        select(Session.id)
        .where(Session.expires_at <= now)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    deleted = await session.scalars(
        delete(Session).where(Session.id.in_(select(expired.c.id))).returning(Session.id),
        execution_options={"synchronize_session": False},
    )
    return len(deleted.all())


async def identify(session: AsyncSession, *, token: str, signer: TokenSigner, now: datetime) -> Identity:
    """Who the bearer of an access token is, with the role that he has now.

    Raises:
        InvalidToken: forged or expired, or the session was ended.
    """
    user_id, session_id = signer.read(token, now=now)
    statement = (
        select(User.role, User.pseudonym)
        .join(Session, Session.user_id == User.id)
        .where(Session.id == session_id, User.id == user_id, Session.expires_at > now)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise InvalidToken
    return Identity(user_id, session_id, Role(found.role), found.pseudonym)


async def check_branch(session: AsyncSession, *, identity: Identity, branch_id: str) -> None:
    """A librarian keeps copies, calendars and policies of his own branches; an admin of all.

    Raises:
        NotYourBranch.
    """
    if identity.role is not Role.ADMIN and branch_id not in await user_queries.staff_branches(
        session, identity.user_id
    ):
        raise NotYourBranch(branch=branch_id)


def _pair(signer: TokenSigner, user_id: UUID, session_id: UUID, refresh_token: str, now: datetime) -> TokenPair:
    return TokenPair(
        access_token=signer.sign(user_id=user_id, session_id=session_id, now=now),
        refresh_token=refresh_token,
        token_type="bearer",  # noqa: S106  # RFC 6750's word, no secret
        expires_in=signer.life_seconds,
    )
