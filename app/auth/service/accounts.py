"""What an account proves by mail and password: registration, confirming and changing its address, a new password."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import letters, passwords
from app.auth.models import Challenge, MailToken, Purpose, Session
from app.auth.schemas import Registration
from app.auth.service import keys, sessions
from app.core.errors import BadRequest, Forbidden, Unauthorized
from app.core.mail import Mailer
from app.core.schemas import JsonObject
from app.core.security import digest, new_token
from app.users import queries as user_queries
from app.users import service as users
from app.users.models import Role, User

LIFE: Final = {
    Purpose.REGISTER: timedelta(days=1),
    Purpose.VERIFY_EMAIL: timedelta(days=1),
    Purpose.CHANGE_EMAIL: timedelta(days=1),
    Purpose.RESET_PASSWORD: timedelta(minutes=30),
}


class WrongCredentials(Unauthorized):
    code, detail = "wrong_credentials", "The address or the password is wrong."


class WrongPassword(Forbidden):
    code, detail = "wrong_password", "The current password is not right."


class RegistrationClosed(Forbidden):
    code, detail = "registration_closed", "This library makes accounts at the desk only."


class InvalidMailToken(BadRequest):
    code, detail = "invalid_mail_token", "The link was used or has expired; ask for a new one."


async def register(session: AsyncSession, *, data: Registration, password_hash: str, now: datetime) -> User:
    """Make a reader's account; the password was hashed before the transaction, as that takes long.

    Raises:
        EmailTaken.
    """
    return await users.create(
        session, email=data.email, password_hash=password_hash, full_name=data.full_name, role=Role.READER, now=now
    )


async def ask_to_register(
    session: AsyncSession, *, data: Registration, password_hash: str, mailer: Mailer, now: datetime
) -> None:
    """Send a mail that makes the account when it is confirmed, or tells that there is one. The same work either way."""
    user = await user_queries.by_email(session, data.email)
    payload = {"email": data.email, "full_name": data.full_name, "password_hash": password_hash}
    # A decoy keeps nothing of what was sent, yet is as long as the real row.
    kept = payload if user is None else {"decoy": "x" * len(str(payload))}
    token = await _issue(session, Purpose.REGISTER, user_id=None, payload=kept, now=now)
    letter = (
        letters.already_registered(user, address=mailer.address)
        if user
        else letters.confirm_registration(data.email, locale="en", address=mailer.address, token=token)
    )
    await mailer.post(session, letter)


async def ask_to_verify(session: AsyncSession, *, user_id: UUID, mailer: Mailer, now: datetime) -> None:
    """Send a mail that confirms the account's address."""
    user = await _present(session, user_id)
    token = await _issue(session, Purpose.VERIFY_EMAIL, user_id=user.id, payload={"email": user.email}, now=now)
    await mailer.post(
        session, letters.verify_email(user.email, locale=user.locale, address=mailer.address, token=token)
    )


async def ask_to_change_email(
    session: AsyncSession, *, user_id: UUID, email: str, mailer: Mailer, now: datetime
) -> None:
    """Send a mail to the new address, which becomes the account's when it is confirmed, and a warning to the old one.

    A taken address gets nothing and is not told apart.
    """
    user = await _present(session, user_id)
    token = await _issue(session, Purpose.CHANGE_EMAIL, user_id=user.id, payload={"email": email}, now=now)
    await warn_of_new_address(session, user, mailer=mailer)
    if await user_queries.by_email(session, email) is None:
        await mailer.post(session, letters.verify_email(email, locale=user.locale, address=mailer.address, token=token))


async def warn_of_new_address(session: AsyncSession, user: User, *, mailer: Mailer) -> None:
    """Tell the old address that the desk is about to give the account another one."""
    await mailer.post(session, letters.address_change_begun(user, address=mailer.address))


async def verify(session: AsyncSession, *, token: str, now: datetime) -> None:
    """Do what the mailed token confirms: a registration, an address, a change of address. Works once.

    Raises:
        InvalidMailToken, EmailTaken.
    """
    row = await _redeem(session, token, Purpose.REGISTER, Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL, now=now)
    payload = row.payload or {}
    if "email" not in payload:
        raise InvalidMailToken
    if row.purpose == Purpose.REGISTER:
        user = await users.create(session, role=Role.READER, now=now, **payload)
    else:
        user = await _locked(session, row.user_id)
        if row.purpose == Purpose.VERIFY_EMAIL and user.email != payload["email"]:
            raise InvalidMailToken
        await users.move_address(session, user, email=payload["email"])
    user.email_verified_at = now


async def forgot(session: AsyncSession, *, email: str, mailer: Mailer, now: datetime) -> None:
    """Send a mail with which a new password can be chosen, if there is an account. The same work either way."""
    user = await user_queries.by_email(session, email)
    if user is not None and user.disabled_at:
        user = None
    token = await _issue(session, Purpose.RESET_PASSWORD, user_id=user.id if user else None, payload=None, now=now)
    if user is not None:
        await mailer.post(session, letters.reset_password(user, address=mailer.address, token=token))


async def owner_of_reset(session: AsyncSession, *, token: str, now: datetime) -> User:
    """Whose password a mailed token sets; the token stays good.

    Raises:
        InvalidMailToken.
    """
    statement = (
        select(User)
        .join(MailToken, MailToken.user_id == User.id)
        .where(
            MailToken.digest == digest(token),
            MailToken.purpose == Purpose.RESET_PASSWORD,
            MailToken.expires_at > now,
            User.disabled_at.is_(None),
        )
    )
    user = (await session.scalars(statement)).one_or_none()
    if user is None:
        raise InvalidMailToken
    return user


async def reset(session: AsyncSession, *, token: str, password_hash: str, mailer: Mailer, now: datetime) -> User:
    """Set a new password by a mailed token and sign everybody out; a second factor stays in force.

    Raises:
        InvalidMailToken.
    """
    row = await _redeem(session, token, Purpose.RESET_PASSWORD, now=now)
    user = await _locked(session, row.user_id)
    user.email_verified_at = user.email_verified_at or now
    await set_password(session, user, password_hash=password_hash, keep_session=None, mailer=mailer)
    return user


async def set_password(
    session: AsyncSession, user: User, *, password_hash: str, keep_session: UUID | None, mailer: Mailer | None
) -> None:
    """Set a new password: other sessions, keys and outstanding mails end, and the user is told.

    Without `mailer` whoever sets it tells him.
    """
    user.password_hash = password_hash
    await sessions.end_all(session, user_id=user.id, keep=keep_session)
    await keys.revoke_all(session, user_id=user.id)
    await session.execute(delete(MailToken).where(MailToken.user_id == user.id))
    if mailer:
        await mailer.post(session, letters.password_changed(user, address=mailer.address))


async def strengthen(session: AsyncSession, *, user_id: UUID, old_hash: str, new_hash: str) -> None:
    """Store the same password under today's parameters, unless it was changed meanwhile."""
    statement = update(User).where(User.id == user_id, User.password_hash == old_hash).values(password_hash=new_hash)
    await session.execute(statement)


async def purge(session: AsyncSession, *, now: datetime, limit: int) -> int:
    """Delete mailed tokens, waiting sign-ins and sessions that have expired, at most `limit` of each; gives how many.

    Concurrent callers share the work.
    """
    deleted = 0
    for model, key in ((MailToken, MailToken.digest), (Challenge, Challenge.digest), (Session, Session.id)):
        expired = (
            select(key).where(model.expires_at <= now).limit(limit).with_for_update(skip_locked=True).cte("expired")
        )
        statement = delete(model).where(key.in_(select(expired))).returning(key)
        found = await session.scalars(statement, execution_options={"synchronize_session": False})
        deleted += len(found.all())
    return deleted


def check_password(password: str, *, email: str, full_name: str, library: str) -> None:
    """Refuse a password that is easily guessed.

    Raises:
        PasswordTooCommon, PasswordTooPersonal.
    """
    passwords.check(password, own_words=(email, full_name, library))


async def _issue(
    session: AsyncSession, purpose: Purpose, *, user_id: UUID | None, payload: JsonObject | None, now: datetime
) -> str:
    token = new_token()
    session.add(
        MailToken(
            digest=digest(token),
            user_id=user_id,
            purpose=purpose,
            payload=payload,
            created_at=now,
            expires_at=now + LIFE[purpose],
        )
    )
    await session.flush()
    return token


async def _redeem(session: AsyncSession, token: str, *purposes: Purpose, now: datetime) -> MailToken:
    """Take the token away; of two attempts one finds it."""
    statement = (
        delete(MailToken)
        .where(MailToken.digest == digest(token), MailToken.purpose.in_(purposes), MailToken.expires_at > now)
        .returning(MailToken)
    )
    row = (await session.scalars(statement)).one_or_none()
    if row is None:
        raise InvalidMailToken
    return row


async def _present(session: AsyncSession, user_id: UUID) -> User:
    user = await user_queries.find(session, user_id)
    if user is None:
        raise Unauthorized
    return user


async def _locked(session: AsyncSession, user_id: UUID | None) -> User:
    user = await user_queries.locked(session, user_id) if user_id else None
    if user is None or user.disabled_at:
        raise InvalidMailToken
    return user
