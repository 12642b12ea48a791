"""The second factor over HTTP: authenticator app, recovery codes, passkeys, and signing in by them."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request, status

from app.api.credentials import SignInDesk, finish_sign_in, open_session
from app.api.deps import (
    ConfirmationRequired,
    ConfirmedPerson,
    CurrentLimits,
    CurrentSettings,
    Now,
    PersonRequired,
    Reading,
    SignedInPerson,
    Writing,
)
from app.api.errors import problems
from app.auth.schemas import (
    CodeProof,
    Factors,
    MfaLogin,
    PasskeyCreate,
    PasskeyLogin,
    PasskeyOptions,
    PasskeyRead,
    RecoveryCodes,
    TokenPair,
    TotpBegun,
)
from app.auth.service import factors, gate, passkeys, sessions
from app.core.errors import Unauthorized
from app.core.vault import Vault
from app.users import queries as user_queries

router = APIRouter(prefix="/auth", tags=["second factor"])

_PERSON: Final = (Unauthorized, PersonRequired)
_CONFIRMED: Final = (*_PERSON, ConfirmationRequired)


async def vault_of(request: Request) -> Vault:
    vault: Vault = request.app.state.vault
    return vault


CurrentVault = Annotated[Vault, Depends(vault_of)]


@router.post("/mfa/login", responses=problems(factors.InvalidChallenge, factors.WrongCode, gate.TooManyCodes))
async def login_with_code(data: MfaLogin, desk: SignInDesk) -> TokenPair:
    """Finish a sign-in with a code of the app, a recovery code, or the code that was mailed; each works once."""
    return await finish_sign_in(data.mfa_token, data.code, desk)


@router.get("/mfa", responses=problems(*_PERSON))
async def list_factors(session: Reading, who: SignedInPerson, settings: CurrentSettings) -> Factors:
    """Which second factors the account has."""
    found = await passkeys.of_user(session, user_id=who.user_id)
    return Factors(
        totp=await factors.has_totp(session, user_id=who.user_id),
        recovery_codes_left=await factors.recovery_codes_left(session, user_id=who.user_id),
        passkeys=[PasskeyRead.model_validate(passkey) for passkey in found],
        is_required=who.role in settings.mfa_required_roles,
    )


@router.post("/mfa/totp", responses=problems(*_CONFIRMED, factors.AlreadyEnrolled))
async def begin_totp(
    session: Writing, who: ConfirmedPerson, settings: CurrentSettings, vault: CurrentVault, now: Now
) -> TotpBegun:
    """Begin to add an authenticator app; it counts once a code of it is confirmed."""
    user = await user_queries.locked(session, who.user_id)
    if user is None:
        raise Unauthorized
    secret, uri = await factors.begin_totp(session, user=user, vault=vault, issuer=settings.project_name, now=now)
    return TotpBegun(secret=secret, uri=uri)


@router.post("/mfa/totp/confirm", responses=problems(*_CONFIRMED, factors.WrongCode, gate.TooManyCodes))
async def confirm_totp(
    data: CodeProof, session: Writing, who: ConfirmedPerson, vault: CurrentVault, limits: CurrentLimits, now: Now
) -> RecoveryCodes:
    """Show that the app works, by a code of it; the answer holds the recovery codes, once."""
    await gate.admit_code(limits, name=str(who.user_id))
    codes = await factors.confirm_totp(session, user_id=who.user_id, code=data.code, vault=vault, now=now)
    assert who.session_id is not None
    await sessions.confirm(session, session_id=who.session_id, has_second_factor=True, now=now)
    return RecoveryCodes(recovery_codes=codes)


@router.delete("/mfa/totp", status_code=status.HTTP_204_NO_CONTENT, responses=problems(*_CONFIRMED))
async def remove_totp(session: Writing, who: ConfirmedPerson) -> None:
    """Remove the authenticator app and the recovery codes."""
    await factors.remove_totp(session, user_id=who.user_id)


@router.post("/mfa/recovery-codes", responses=problems(*_CONFIRMED))
async def renew_recovery_codes(session: Writing, who: ConfirmedPerson) -> RecoveryCodes:
    """New recovery codes; the old ones stop working."""
    return RecoveryCodes(recovery_codes=await factors.renew_recovery_codes(session, user_id=who.user_id))


@router.post("/mfa/passkeys/options", responses=problems(*_CONFIRMED, passkeys.TooManyPasskeys))
async def begin_passkey(session: Writing, who: ConfirmedPerson, settings: CurrentSettings, now: Now) -> PasskeyOptions:
    """Begin to add a passkey."""
    user = await user_queries.locked(session, who.user_id)
    if user is None:
        raise Unauthorized
    options, token = await passkeys.begin_registration(
        session, user=user, address=settings.address, library=settings.project_name, now=now
    )
    return PasskeyOptions(token=token, options=options)


@router.post(
    "/mfa/passkeys",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*_CONFIRMED, passkeys.PasskeyRefused),
)
async def add_passkey(
    data: PasskeyCreate, session: Writing, who: ConfirmedPerson, settings: CurrentSettings, now: Now
) -> PasskeyRead:
    """Add the passkey that the browser has made."""
    passkey = await passkeys.register(
        session,
        user_id=who.user_id,
        token=data.token,
        name=data.name,
        credential=data.credential,
        address=settings.address,
        now=now,
    )
    assert who.session_id is not None
    await sessions.confirm(session, session_id=who.session_id, has_second_factor=True, now=now)
    return PasskeyRead.model_validate(passkey)


@router.delete(
    "/mfa/passkeys/{passkey_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*_CONFIRMED, passkeys.PasskeyNotFound),
)
async def remove_passkey(passkey_id: UUID, session: Writing, who: ConfirmedPerson) -> None:
    """Remove a passkey; it signs nobody in any more."""
    await passkeys.remove(session, user_id=who.user_id, passkey_id=passkey_id)


@router.post("/passkeys/options")
async def begin_passkey_login(session: Writing, settings: CurrentSettings, now: Now) -> PasskeyOptions:
    """Begin to sign in by a passkey, without a password."""
    options, token = await passkeys.begin_sign_in(session, address=settings.address, now=now)
    return PasskeyOptions(token=token, options=options)


@router.post("/passkeys/login", responses=problems(passkeys.PasskeyRefused))
async def login_with_passkey(data: PasskeyLogin, desk: SignInDesk) -> TokenPair:
    """Sign in by the passkey's answer; it is both factors, since the device has verified its owner."""
    async with desk.database.transaction() as session:
        user = await passkeys.sign_in(
            session, token=data.token, credential=data.credential, address=desk.settings.address, now=desk.now
        )
    return await open_session(user, desk, has_second_factor=True)
