"""API keys: a program's credential, shown once and kept as a digest."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import letters
from app.auth.identity import Identity
from app.auth.models import ApiKey
from app.auth.permissions import GRANTS, OwnAccount
from app.core.errors import Conflict, NotFound, Unprocessable
from app.core.mail import Mailer
from app.core.security import InvalidToken, digest, new_token
from app.users.models import Role, User

PREFIX: Final = "lib_"
MAX_KEYS: Final = 20
REMINDED_BEFORE: Final = timedelta(days=14)
USED_EVERY: Final = timedelta(hours=1)


class KeyNotFound(NotFound):
    code, detail = "api_key_not_found", "There is no such key."


class TooManyKeys(Conflict):
    code, detail = "too_many_api_keys", "An account has at most {limit} keys; delete one that is no longer used."


class ScopeNotYours(Unprocessable):
    code, detail = "scope_not_yours", "Your account has no right to: {scopes}."


async def make(
    session: AsyncSession, *, identity: Identity, name: str, scopes: Collection[str], days: int, now: datetime
) -> tuple[ApiKey, str]:
    """A new key and its text, which is never shown again. Locks the owner, so that the limit holds.

    Raises:
        ScopeNotYours, TooManyKeys.
    """
    foreign = sorted(set(scopes) - GRANTS[identity.role] - set(OwnAccount))
    if foreign:
        raise ScopeNotYours(scopes=", ".join(foreign))
    await session.execute(select(User.id).where(User.id == identity.user_id).with_for_update(key_share=True))
    count = await session.scalar(select(func.count()).where(ApiKey.user_id == identity.user_id))
    if (count or 0) >= MAX_KEYS:
        raise TooManyKeys(limit=MAX_KEYS)
    secret = PREFIX + new_token()
    key = ApiKey(
        id=uuid_utils.uuid7(),
        user_id=identity.user_id,
        name=name,
        digest=digest(secret),
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    session.add(key)
    await session.flush()
    return key, secret


async def of_user(session: AsyncSession, *, user_id: UUID) -> Sequence[ApiKey]:
    """All keys, also the expired, the newest first."""
    statement = select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.created_at.desc())
    return (await session.scalars(statement)).all()


async def revoke(session: AsyncSession, *, user_id: UUID, key_id: UUID) -> None:
    """Delete one of one's own keys; it stops working at once.

    Raises:
        KeyNotFound: there is none, or it is somebody else's.
    """
    statement = delete(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id).returning(ApiKey.id)
    if (await session.scalars(statement)).one_or_none() is None:
        raise KeyNotFound


async def revoke_all(session: AsyncSession, *, user_id: UUID) -> None:
    await session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))


async def identify(session: AsyncSession, *, token: str, now: datetime) -> tuple[Identity, bool]:
    """Who a key belongs to, and whether `note_use` is due; one indexed query.

    Raises:
        InvalidToken: unknown, revoked, expired, or the account is disabled.
    """
    statement = (
        select(ApiKey.id, ApiKey.scopes, ApiKey.used_at, User.id, User.pseudonym, User.role, User.locale)
        .join(User, ApiKey.user_id == User.id)
        .where(ApiKey.digest == digest(token), ApiKey.expires_at > now, User.disabled_at.is_(None))
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise InvalidToken
    key_id, scopes, used_at, user_id, pseudonym, role, locale = row
    identity = Identity(user_id, pseudonym, Role(role), key_id=key_id, scopes=frozenset(scopes), locale=locale)
    return identity, used_at is None or used_at + USED_EVERY < now


async def remind(session: AsyncSession, *, mailer: Mailer, address: str, now: datetime, limit: int) -> int:
    """Tell owners by mail, once a key, that it ends in two weeks; of keys that live longer than that. How many."""
    soon = (
        select(ApiKey, User)
        .join(User, ApiKey.user_id == User.id)
        .where(
            ApiKey.reminded_at.is_(None), ApiKey.expires_at > now, ApiKey.expires_at < now + REMINDED_BEFORE,
            ApiKey.created_at < now - REMINDED_BEFORE, User.disabled_at.is_(None),
        )
        .limit(limit)
        .with_for_update(of=ApiKey, key_share=True)
    )  # fmt: skip
    found = (await session.execute(soon)).all()
    for key, owner in found:
        key.reminded_at = now
        await mailer.post(session, letters.key_ends(owner, address=address))
    return len(found)


async def note_use(session: AsyncSession, *, key_id: UUID, now: datetime) -> None:
    """Note when a key was last used, so that its owner sees which are idle."""
    await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=now))
