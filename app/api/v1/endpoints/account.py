"""What an account proves by password and mail, over HTTP: a new password, an address, its sessions and keys."""

import asyncio
import time
from typing import Final
from uuid import UUID

from fastapi import APIRouter, status

from app.api.credentials import check_own_password
from app.api.deps import (
    ConfirmationRequired,
    ConfirmedPerson,
    CurrentDatabase,
    CurrentLimits,
    CurrentSettings,
    FromHost,
    Letters,
    Now,
    PersonRequired,
    Reading,
    SignedInPerson,
    Writing,
)
from app.api.errors import problems
from app.auth.passwords import PasswordTooCommon, PasswordTooPersonal
from app.auth.schemas import (
    ApiKeyCreate,
    ApiKeyMade,
    ApiKeyPage,
    ApiKeyRead,
    EmailChange,
    Forgotten,
    MailedToken,
    MailSent,
    OpenSession,
    PasswordChange,
    PasswordReset,
    SessionPage,
    SessionRead,
)
from app.auth.service import accounts, gate, keys, sessions
from app.core.errors import Unauthorized
from app.core.security import hash_password
from app.users import queries as user_queries
from app.users import service as users

router = APIRouter(prefix="/auth", tags=["auth"])

# The answer leaves a whole number of these after the question, so that its time tells nothing of what was found: one,
# unless the machine is so busy that the work takes longer.
FORGOT_SECONDS: Final = 0.1

_PERSON: Final = (Unauthorized, PersonRequired)
_NEW_PASSWORD: Final = (PasswordTooCommon, PasswordTooPersonal)


@router.post(
    "/password",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*_PERSON, accounts.WrongPassword, gate.TooManyLogins, *_NEW_PASSWORD),
)
async def change_password(
    data: PasswordChange,
    settings: CurrentSettings,
    database: CurrentDatabase,
    who: SignedInPerson,
    mailer: Letters,
    limits: CurrentLimits,
) -> None:
    """Choose a new password; all other sessions and all keys of the account end, and a mail tells of it."""
    user = await check_own_password(data.current_password, who.user_id, database, limits)
    accounts.check_password(
        data.new_password, email=user.email, full_name=user.full_name, library=settings.project_name
    )
    password_hash = await hash_password(data.new_password)
    async with database.transaction() as session:
        locked = await user_queries.locked(session, who.user_id)
        if locked is None:
            raise Unauthorized
        await accounts.set_password(
            session, locked, password_hash=password_hash, keep_session=who.session_id, mailer=mailer
        )


@router.post("/forgot", status_code=status.HTTP_202_ACCEPTED, responses=problems(gate.TooManyMails))
async def forgot_password(
    data: Forgotten, database: CurrentDatabase, mailer: Letters, limits: CurrentLimits, host: FromHost, now: Now
) -> MailSent:
    """Ask for a mail with which a new password can be chosen; the answer is the same without an account."""
    asked = time.monotonic()
    if await gate.admit_mail(limits, email=data.email, host=host):
        async with database.transaction() as session:
            await accounts.forgot(session, email=data.email, mailer=mailer, now=now)
    await asyncio.sleep(FORGOT_SECONDS - (time.monotonic() - asked) % FORGOT_SECONDS)
    return MailSent(status="mail_sent")


@router.post(
    "/reset",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(accounts.InvalidMailToken, *_NEW_PASSWORD),
)
async def reset_password(
    data: PasswordReset, settings: CurrentSettings, database: CurrentDatabase, mailer: Letters, now: Now
) -> None:
    """Choose a new password with the mailed token, which works once; everybody is signed out."""
    async with database.reading() as session:
        user = await accounts.owner_of_reset(session, token=data.token, now=now)
    accounts.check_password(data.password, email=user.email, full_name=user.full_name, library=settings.project_name)
    password_hash = await hash_password(data.password)
    async with database.transaction() as session:
        await accounts.reset(session, token=data.token, password_hash=password_hash, mailer=mailer, now=now)


@router.post(
    "/verify",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(accounts.InvalidMailToken, users.EmailTaken),
)
async def verify_email(data: MailedToken, session: Writing, now: Now) -> None:
    """Confirm what a mail asked: a registration, an address, a change of address. The token works once."""
    await accounts.verify(session, token=data.token, now=now)


@router.post("/verify/mail", status_code=status.HTTP_202_ACCEPTED, responses=problems(*_PERSON, gate.TooManyMails))
async def send_verification(
    session: Writing, who: SignedInPerson, mailer: Letters, limits: CurrentLimits, host: FromHost, now: Now
) -> MailSent:
    """Ask for a mail that confirms the account's address."""
    if not await gate.admit_mail(limits, email=str(who.user_id), host=host):
        raise gate.TooManyMails
    await accounts.ask_to_verify(session, user_id=who.user_id, mailer=mailer, now=now)
    return MailSent(status="mail_sent")


@router.post(
    "/email",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(*_PERSON, accounts.WrongPassword, gate.TooManyLogins, gate.TooManyMails),
)
async def change_email(
    data: EmailChange,
    database: CurrentDatabase,
    who: SignedInPerson,
    mailer: Letters,
    limits: CurrentLimits,
    host: FromHost,
    now: Now,
) -> MailSent:
    """Ask for another address: it becomes the account's once the mail to it is confirmed; the old one is warned."""
    await check_own_password(data.password, who.user_id, database, limits)
    if await gate.admit_mail(limits, email=data.email, host=host):
        async with database.transaction() as session:
            await accounts.ask_to_change_email(session, user_id=who.user_id, email=data.email, mailer=mailer, now=now)
    return MailSent(status="mail_sent")


@router.get("/sessions", responses=problems(*_PERSON))
async def list_sessions(session: Reading, who: SignedInPerson, now: Now) -> SessionPage:
    """Where the account is signed in."""
    found = await sessions.of_user(session, user_id=who.user_id, now=now)
    items = [
        SessionRead(**OpenSession.model_validate(row).model_dump(), is_current=row.id == who.session_id)
        for row in found
    ]
    return SessionPage(items=items, next=None)


@router.delete("/sessions", status_code=status.HTTP_204_NO_CONTENT, responses=problems(*_PERSON))
async def end_other_sessions(session: Writing, who: SignedInPerson) -> None:
    """Sign out everywhere else."""
    await sessions.end_all(session, user_id=who.user_id, keep=who.session_id)


@router.delete(
    "/sessions/{session_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*_PERSON, sessions.SessionNotFound),
)
async def end_session(session_id: UUID, session: Writing, who: SignedInPerson) -> None:
    """End one of one's sessions; its tokens stop working at once."""
    await sessions.end_session(session, user_id=who.user_id, session_id=session_id)


@router.post(
    "/api-keys",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*_PERSON, ConfirmationRequired, keys.TooManyKeys, keys.ScopeNotYours),
)
async def make_api_key(data: ApiKeyCreate, session: Writing, who: ConfirmedPerson, now: Now) -> ApiKeyMade:
    """Make a key for a program; the answer is the only one that holds it."""
    key, secret = await keys.make(session, identity=who, name=data.name, scopes=data.scopes, days=data.days, now=now)
    return ApiKeyMade(**ApiKeyRead.model_validate(key).model_dump(), key=secret)


@router.get("/api-keys", responses=problems(*_PERSON))
async def list_api_keys(session: Reading, who: SignedInPerson) -> ApiKeyPage:
    """The account's keys, without what they open."""
    found = await keys.of_user(session, user_id=who.user_id)
    return ApiKeyPage(items=[ApiKeyRead.model_validate(key) for key in found], next=None)


@router.delete(
    "/api-keys/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*_PERSON, keys.KeyNotFound),
)
async def revoke_api_key(key_id: UUID, session: Writing, who: SignedInPerson) -> None:
    """Revoke a key; it stops working at once."""
    await keys.revoke(session, user_id=who.user_id, key_id=key_id)
