"""The second factor: authenticator apps, recovery codes, codes by mail, and the sign-in that waits for one of them."""

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import pyotp
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import letters
from app.auth.models import Challenge, Passkey, RecoveryCode, TotpSecret
from app.core.errors import Conflict, Unauthorized, Unprocessable
from app.core.mail import Mailer
from app.core.security import digest, new_token
from app.core.vault import Vault
from app.users.models import User

STEP_SECONDS: Final = 30
DRIFT_STEPS: Final = 1
CHALLENGE_LIFE: Final = timedelta(minutes=10)
CHALLENGE_TRIES: Final = 5
RECOVERY_CODES: Final = 10
MAIL_CODE_DIGITS: Final = 8
MFA: Final = "mfa"


class WrongCode(Unprocessable):
    code, detail = "wrong_code", "The code is not right, was used, or is too old."


class InvalidChallenge(Unauthorized):
    code, detail = "invalid_mfa_token", "This sign-in was finished, given up or took too long; begin again."


class AlreadyEnrolled(Conflict):
    code, detail = "totp_enrolled", "There is an authenticator app already; remove it first."


async def is_enrolled(session: AsyncSession, *, user_id: UUID) -> bool:
    """Whether signing in takes a second factor."""
    statement = select(
        or_(
            exists().where(TotpSecret.user_id == user_id, TotpSecret.confirmed_at.is_not(None)),
            exists().where(Passkey.user_id == user_id),
        )
    )
    return bool(await session.scalar(statement))


async def has_totp(session: AsyncSession, *, user_id: UUID) -> bool:
    found = await session.get(TotpSecret, user_id)
    return found is not None and found.confirmed_at is not None


async def begin_totp(session: AsyncSession, *, user: User, vault: Vault, issuer: str, now: datetime) -> tuple[str, str]:
    """A new secret and the `otpauth:` address of it; it counts once `confirm_totp` has seen a code.

    Raises:
        AlreadyEnrolled.
    """
    row = await session.get(TotpSecret, user.id)
    if row is not None and row.confirmed_at is not None:
        raise AlreadyEnrolled
    secret = pyotp.random_base32()
    encrypted = vault.encrypt(secret, purpose=_purpose(user.id))
    if row is None:
        session.add(TotpSecret(user_id=user.id, encrypted=encrypted, last_step=0, created_at=now))
    else:
        row.encrypted, row.created_at = encrypted, now
    await session.flush()
    return secret, pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=issuer)


async def confirm_totp(session: AsyncSession, *, user_id: UUID, code: str, vault: Vault, now: datetime) -> list[str]:
    """Let the secret count, since the app shows its codes; gives new recovery codes, shown once.

    Raises:
        WrongCode.
    """
    if not await _use_totp(session, user_id, code, vault, now, is_confirmed=False):
        raise WrongCode
    await session.execute(update(TotpSecret).where(TotpSecret.user_id == user_id).values(confirmed_at=now))
    return await renew_recovery_codes(session, user_id=user_id)


async def remove_totp(session: AsyncSession, *, user_id: UUID) -> None:
    """Forget the authenticator app and the recovery codes. Idempotent."""
    await session.execute(delete(TotpSecret).where(TotpSecret.user_id == user_id))
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


async def renew_recovery_codes(session: AsyncSession, *, user_id: UUID) -> list[str]:
    """New codes of 80 random bits each; the old ones stop working."""
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = ["-".join(secrets.token_hex(2) for _ in range(5)) for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(digest=digest(code), user_id=user_id) for code in codes)
    await session.flush()
    return codes


async def recovery_codes_left(session: AsyncSession, *, user_id: UUID) -> int:
    return await session.scalar(select(func.count()).where(RecoveryCode.user_id == user_id)) or 0


async def use_code(session: AsyncSession, *, user_id: UUID, code: str, vault: Vault, now: datetime) -> bool:
    """Whether this is a code of the app or a recovery code that has not been used; it is used now."""
    if await _use_totp(session, user_id, code, vault, now, is_confirmed=True):
        return True
    statement = (
        delete(RecoveryCode)
        .where(RecoveryCode.digest == digest(code.strip().lower()), RecoveryCode.user_id == user_id)
        .returning(RecoveryCode.digest)
    )
    return (await session.scalars(statement)).one_or_none() is not None


async def wait_for_proof(
    session: AsyncSession, *, user: User | None, by_mail: bool, mailer: Mailer, now: datetime
) -> str:
    """Let a sign-in wait for a second proof; gives its token. Without a user it is a decoy that nothing completes.

    `by_mail` sends a code to the address of an account without a second factor; a decoy costs the same write.
    """
    code = "".join(secrets.choice("0123456789") for _ in range(MAIL_CODE_DIGITS))
    token = new_token()
    session.add(
        Challenge(
            digest=digest(token),
            user_id=user.id if user else None,
            kind=MFA,
            nonce=digest(token + code) if by_mail else None,
            tries_left=CHALLENGE_TRIES,
            expires_at=now + CHALLENGE_LIFE,
        )
    )
    await session.flush()
    if by_mail and user is not None and not await is_enrolled(session, user_id=user.id):
        await mailer.post(session, letters.sign_in_code(user, code=code))
    return token


async def complete(
    session: AsyncSession, *, token: str, code: str, vault: Vault, now: datetime
) -> UUID | Unauthorized | Unprocessable:
    """Whose sign-in it is, if the code is right. A refusal is given, not raised: the spent try must be committed."""
    statement = (
        update(Challenge)
        .where(
            Challenge.digest == digest(token), Challenge.kind == MFA, Challenge.expires_at > now,
            Challenge.tries_left > 0,
        )
        .values(tries_left=Challenge.tries_left - 1)
        .returning(Challenge.user_id, Challenge.nonce)
    )  # fmt: skip
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        return InvalidChallenge()
    user_id, nonce = found
    fits = nonce is not None and hmac.compare_digest(nonce, digest(token + code.strip()))
    if fits and user_id is not None:
        # Whoever reads the owner's mail has no second factor: the code is good only where there is none to ask for.
        fits = not await is_enrolled(session, user_id=user_id)
    if user_id is None or not (fits or await use_code(session, user_id=user_id, code=code, vault=vault, now=now)):
        return WrongCode()
    await session.execute(delete(Challenge).where(Challenge.digest == digest(token)))
    owner: UUID = user_id
    return owner


async def _use_totp(
    session: AsyncSession, user_id: UUID, code: str, vault: Vault, now: datetime, *, is_confirmed: bool
) -> bool:
    row = await session.get(TotpSecret, user_id)
    if row is None or (row.confirmed_at is not None) is not is_confirmed:
        return False
    totp = pyotp.TOTP(vault.decrypt(row.encrypted, purpose=_purpose(user_id)))
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), code.strip().replace(" ", "")):
            # The condition makes it work once, also of two at the same time.
            statement = (
                update(TotpSecret)
                .where(TotpSecret.user_id == user_id, TotpSecret.last_step < step)
                .values(last_step=step)
                .returning(TotpSecret.user_id)
            )
            return (await session.scalars(statement)).one_or_none() is not None
    return False


def _purpose(user_id: UUID) -> str:
    return f"totp:{user_id}"
