"""Passkeys: registering them and signing in by them; one is both factors, as the device verifies its owner."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import ceremony
from app.auth.models import Challenge, Passkey
from app.core.errors import Conflict, NotFound, Unprocessable
from app.core.schemas import JsonObject
from app.core.security import digest, new_token
from app.users.models import User

LIFE: Final = timedelta(minutes=5)
MAX_PASSKEYS: Final = 10
REGISTER: Final = "passkey_register"
SIGN_IN: Final = "passkey_sign_in"


class PasskeyRefused(Unprocessable):
    code, detail = "passkey_refused", "The passkey's answer is not valid here, was used, or took too long; try again."


class PasskeyNotFound(NotFound):
    code, detail = "passkey_not_found", "There is no such passkey."


class TooManyPasskeys(Conflict):
    code, detail = "too_many_passkeys", "An account has at most {limit} passkeys; delete one first."


async def of_user(session: AsyncSession, *, user_id: UUID) -> Sequence[Passkey]:
    statement = select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.created_at)
    return (await session.scalars(statement)).all()


async def begin_registration(
    session: AsyncSession, *, user: User, address: str, library: str, now: datetime
) -> tuple[JsonObject, str]:
    """What the browser needs to make a passkey, and the token with which its answer is given.

    Raises:
        TooManyPasskeys.
    """
    known = [passkey.credential_id for passkey in await of_user(session, user_id=user.id)]
    if len(known) >= MAX_PASSKEYS:
        raise TooManyPasskeys(limit=MAX_PASSKEYS)
    options, challenge = ceremony.registration(
        address=address, library=library, user_id=user.id, email=user.email, known=known
    )
    return options, await _issue(session, REGISTER, user.id, challenge, now)


async def register(
    session: AsyncSession, *, user_id: UUID, token: str, name: str, credential: JsonObject, address: str, now: datetime
) -> Passkey:
    """Keep a new passkey.

    Raises:
        PasskeyRefused.
    """
    challenge = await _redeem(session, REGISTER, token, now, user_id=user_id)
    try:
        credential_id, public_key, count = ceremony.registered(credential, address=address, challenge=challenge)
    except ceremony.CeremonyFailed:
        raise PasskeyRefused from None
    if await session.scalar(select(func.count()).where(Passkey.credential_id == credential_id)):
        raise PasskeyRefused
    passkey = Passkey(
        id=uuid_utils.uuid7(),
        user_id=user_id,
        name=name,
        credential_id=credential_id,
        public_key=public_key,
        sign_count=count,
        created_at=now,
    )
    session.add(passkey)
    await session.flush()
    return passkey


async def remove(session: AsyncSession, *, user_id: UUID, passkey_id: UUID) -> None:
    """Delete one of one's own passkeys.

    Raises:
        PasskeyNotFound: there is none, or it is somebody else's.
    """
    statement = delete(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id).returning(Passkey.id)
    if (await session.scalars(statement)).one_or_none() is None:
        raise PasskeyNotFound


async def begin_sign_in(session: AsyncSession, *, address: str, now: datetime) -> tuple[JsonObject, str]:
    """What the browser needs to sign in by a passkey, and the token with which its answer is given."""
    options, challenge = ceremony.authentication(address=address)
    return options, await _issue(session, SIGN_IN, None, challenge, now)


async def sign_in(session: AsyncSession, *, token: str, credential: JsonObject, address: str, now: datetime) -> User:
    """The account whose passkey has answered. Locks the passkey.

    Raises:
        PasskeyRefused.
    """
    challenge = await _redeem(session, SIGN_IN, token, now, user_id=None)
    statement = select(Passkey).where(Passkey.credential_id == str(credential.get("id", ""))).with_for_update()
    passkey = (await session.scalars(statement)).one_or_none()
    user = await session.get(User, passkey.user_id) if passkey else None
    if passkey is None or user is None or user.disabled_at:
        raise PasskeyRefused
    try:
        passkey.sign_count = ceremony.authenticated(
            credential,
            address=address,
            challenge=challenge,
            public_key=passkey.public_key,
            sign_count=passkey.sign_count,
        )
    except ceremony.CeremonyFailed:
        raise PasskeyRefused from None
    passkey.used_at = now
    return user


async def _issue(session: AsyncSession, kind: str, user_id: UUID | None, nonce: str, now: datetime) -> str:
    token = new_token()
    row = Challenge(digest=digest(token), user_id=user_id, kind=kind, nonce=nonce, tries_left=1, expires_at=now + LIFE)
    session.add(row)
    await session.flush()
    return token


async def _redeem(session: AsyncSession, kind: str, token: str, now: datetime, *, user_id: UUID | None) -> str:
    owner = Challenge.user_id.is_(None) if user_id is None else Challenge.user_id == user_id
    statement = (
        delete(Challenge)
        .where(Challenge.digest == digest(token), Challenge.kind == kind, Challenge.expires_at > now, owner)
        .returning(Challenge.nonce)
    )
    nonce = (await session.scalars(statement)).one_or_none()
    if nonce is None:
        raise PasskeyRefused
    return nonce
