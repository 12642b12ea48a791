"""Judging who signs in over HTTP: outside any transaction, since hashing takes long and holds no connection."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

import structlog
from fastapi import Depends, Request

from app.api.deps import FromDevice, Now
from app.auth.schemas import Credentials, MfaRequired, TokenPair
from app.auth.service import accounts, factors, gate, sessions
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import Unauthorized
from app.core.limits import Limits
from app.core.mail import Mailer
from app.core.security import TokenSigner, hash_password, needs_rehash, verify_password
from app.core.vault import Vault
from app.users import queries as user_queries
from app.users.models import User

log = structlog.get_logger()

NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Desk:
    """What judging a sign-in takes."""

    settings: Settings
    database: Database
    signer: TokenSigner
    mailer: Mailer
    limits: Limits
    vault: Vault
    device: sessions.Device
    now: datetime

    @property
    def host(self) -> str:
        return self.device.address or "unknown"


async def _desk(request: Request, device: FromDevice, now: Now) -> Desk:
    state = request.app.state
    return Desk(state.settings, state.database, state.signer, state.mailer, state.limits, state.vault, device, now)


SignInDesk = Annotated[Desk, Depends(_desk)]


async def sign_in(data: Credentials, desk: Desk) -> TokenPair | MfaRequired:
    """Exchange address and password for tokens, or for a sign-in that waits for one proof more.

    Raises:
        WrongCredentials, TooManyLogins.
    """
    proved = await prove(data, desk)
    return proved if isinstance(proved, MfaRequired) else await open_session(proved, desk, has_second_factor=False)


async def prove(data: Credentials, desk: Desk) -> User | MfaRequired:
    """Whose address and password these are, or a sign-in that waits for one proof more.

    An unknown or disabled account takes as long and reads the same. After many tries on an account from everywhere a
    right and a wrong password read the same too, and the owner gets a code by mail: nobody can lock him out, and
    nobody learns the password by trying.

    Raises:
        WrongCredentials, TooManyLogins.
    """
    is_under_attack = await gate.admit_login(desk.limits, email=data.email, host=desk.host)
    async with desk.database.reading() as session:
        found = await user_queries.by_email(session, data.email)
        # Asked of nobody too: an answer that takes one question more would tell that the account exists.
        is_enrolled = await factors.is_enrolled(session, user_id=found.id if found else NOBODY)
    fits = await verify_password(data.password, found.password_hash if found else None)
    user = found if found is not None and fits and not found.disabled_at else None
    log.info("password_judged", is_right=user is not None, is_under_attack=is_under_attack, address=desk.host)
    if is_under_attack:
        return await _wait(user, desk, by_mail=True)
    if user is None:
        raise accounts.WrongCredentials
    await gate.login_succeeded(desk.limits, email=data.email, host=desk.host)
    await _strengthen(user, data.password, desk.database)
    if is_enrolled:
        return await _wait(user, desk, by_mail=False)
    return user


async def finish_sign_in(token: str, code: str, desk: Desk) -> TokenPair:
    """Exchange the second proof for tokens.

    Raises:
        InvalidChallenge, WrongCode, TooManyCodes.
    """
    user, is_enrolled = await prove_by_code(token, code, desk)
    return await open_session(user, desk, has_second_factor=is_enrolled)


async def prove_by_code(token: str, code: str, desk: Desk) -> tuple[User, bool]:
    """Whose second proof this is, and whether it was a second factor rather than a mailed code.

    Raises:
        InvalidChallenge, WrongCode, TooManyCodes.
    """
    await gate.admit_code(desk.limits, name=token)
    async with desk.database.transaction() as session:
        result = await factors.complete(session, token=token, code=code, vault=desk.vault, now=desk.now)
    if not isinstance(result, UUID):
        raise result
    async with desk.database.reading() as session:
        user = await user_queries.find(session, result)
        is_enrolled = await factors.is_enrolled(session, user_id=result)
    if user is None or user.disabled_at:
        raise factors.InvalidChallenge
    return user, is_enrolled


async def open_session(user: User, desk: Desk, *, has_second_factor: bool) -> TokenPair:
    life = timedelta(days=desk.settings.refresh_token_expire_days)
    log.info("signed_in", user=str(user.pseudonym), has_second_factor=has_second_factor, address=desk.host)
    async with desk.database.transaction() as session:
        return await sessions.open_session(
            session,
            user=user,
            signer=desk.signer,
            life=life,
            now=desk.now,
            device=desk.device,
            has_second_factor=has_second_factor,
        )


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


async def _wait(user: User | None, desk: Desk, *, by_mail: bool) -> MfaRequired:
    methods: list[Literal["totp", "recovery_code", "passkey", "email_code"]] = ["totp", "recovery_code", "passkey"]
    async with desk.database.transaction() as session:
        token = await factors.wait_for_proof(session, user=user, by_mail=by_mail, mailer=desk.mailer, now=desk.now)
    return MfaRequired(mfa_required=True, mfa_token=token, methods=[*methods, "email_code"] if by_mail else methods)


async def _strengthen(user: User, password: str, database: Database) -> None:
    if needs_rehash(user.password_hash):
        stronger = await hash_password(password)
        async with database.transaction() as session:
            await accounts.strengthen(session, user_id=user.id, old_hash=user.password_hash, new_hash=stronger)
