"""Judging a password over HTTP: outside any transaction, as hashing takes long and no connection should wait for it."""

from datetime import datetime, timedelta
from uuid import UUID

from app.auth.schemas import Credentials, TokenPair
from app.auth.service import accounts, gate, sessions
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import Unauthorized
from app.core.limits import Limits
from app.core.security import TokenSigner, hash_password, needs_rehash, verify_password
from app.users import queries as user_queries
from app.users.models import User


async def authenticate(data: Credentials, database: Database, limits: Limits, host: str) -> User:
    """The account whose password this is. An unknown or disabled account takes as long and reads the same.

    Raises:
        WrongCredentials, TooManyLogins.
    """
    if await gate.admit_login(limits, email=data.email, host=host):
        raise gate.TooManyLogins
    async with database.reading() as session:
        user = await user_queries.by_email(session, data.email)
    fits = await verify_password(data.password, user.password_hash if user else None)
    if user is None or user.disabled_at or not fits:
        raise accounts.WrongCredentials
    await gate.login_succeeded(limits, email=data.email, host=host)
    if needs_rehash(user.password_hash):
        stronger = await hash_password(data.password)
        async with database.transaction() as session:
            await accounts.strengthen(session, user_id=user.id, old_hash=user.password_hash, new_hash=stronger)
    return user


async def check_own_password(password: str, user_id: UUID, database: Database, limits: Limits) -> User:
    """The signed-in account, if this is its password.

    Raises:
        WrongPassword, TooManyLogins.
    """
    await gate.admit_own_password(limits, user_id=str(user_id))
    async with database.reading() as session:
        user = await user_queries.find(session, user_id)
    if user is None:
        raise Unauthorized
    if not await verify_password(password, user.password_hash):
        raise accounts.WrongPassword
    return user


async def open_session(
    user: User, settings: Settings, database: Database, signer: TokenSigner, device: sessions.Device, now: datetime
) -> TokenPair:
    life = timedelta(days=settings.refresh_token_expire_days)
    async with database.transaction() as session:
        return await sessions.open_session(session, user=user, signer=signer, life=life, now=now, device=device)
