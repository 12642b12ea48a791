"""Where an account is signed in, its password, authenticator app, recovery codes, passkeys and keys."""

from datetime import timedelta
from io import BytesIO
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from markupsafe import Markup

from app.api.cookies import set_session_cookie
from app.api.credentials import SignInDesk
from app.api.deps import ConfirmedPerson, SignedInPerson
from app.api.v1.endpoints import account as api_account
from app.api.v1.endpoints import auth as api_auth
from app.api.v1.endpoints import mfa as api_mfa
from app.auth.schemas import CodeProof, Confirmation, PasskeyCreate, PasskeyLogin, PasswordChange
from app.auth.service import accounts, factors, keys, passkeys, sessions
from app.core.errors import AppError
from app.core.loading import segno
from app.web import forms
from app.web.forms import Mistakes
from app.web.page import HEADERS, Page, View
from app.web.pages.sign_in import HOME, inside

router = APIRouter()

URI_CHARACTERS: Final = 500  # what fits into a QR code, whatever they are


@router.get("/me/security")
async def overview(page: Page, who: SignedInPerson) -> Response:
    """Sessions, second factors and keys."""
    del who
    return page.show("security.html", **await _facts(page), problem=None, errors={})


async def _facts(page: View) -> dict[str, Any]:
    async with page.database.reading() as session:
        return {
            "sessions": await api_account.list_sessions(session, page.me, page.now),
            "factors": await api_mfa.list_factors(session, page.me, page.settings),
            "keys": await keys.of_user(session, user_id=page.me.user_id),
        }


@router.get("/confirm")
async def ask_to_confirm(page: Page, who: SignedInPerson) -> Response:
    """Is it still he? Asked before what nobody else should do."""
    del who
    target = inside(page.request.query_params.get("next", "")) or "/me/security"
    return page.show("login.html", action="/confirm", next_path=target, kept="", problem=None, errors={}, typed={})


@router.post("/confirm")
async def confirm(page: Page, who: SignedInPerson, desk: SignInDesk) -> Response:
    """Prove it, and go on with what was being done."""
    target, kept = inside(page.text("next")) or "/me/security", page.text("kept")
    try:
        values = {"password": page.form.get("password", ""), "code": page.text("code")}
        data = forms.read(Confirmation, values, page.words)
        await api_auth.confirm(data, desk, who)
    except Mistakes:
        return page.refuse("login.html", accounts.WrongCredentials(), action="/confirm", next_path=target, kept=kept)
    except AppError as error:
        return page.refuse("login.html", error, action="/confirm", next_path=target, kept=kept)
    return page.show("go_on.html", target=target, fields=parse_qsl(kept)) if kept else page.go(target)


@router.post("/me/security/sessions/end")
async def end_others(page: Page, who: SignedInPerson) -> Response:
    """Sign out everywhere else."""
    async with page.changing() as session:
        await sessions.end_all(session, user_id=who.user_id, keep=who.session_id)
        return page.go("/me/security", "ended")


@router.post("/me/security/sessions/{session_id}/end")
async def end_one(page: Page, who: SignedInPerson, session_id: UUID) -> Response:
    """End one session."""
    async with page.changing() as session:
        await sessions.end_session(session, user_id=who.user_id, session_id=session_id)
        return page.go("/me/security", "ended")


@router.post("/me/security/password")
async def change_password(page: Page, who: SignedInPerson, desk: SignInDesk) -> Response:
    """Choose a new password; every other session ends."""
    try:
        values = {name: str(page.form.get(name, "")) for name in ("current_password", "new_password")}
        data = forms.read(PasswordChange, values, page.words)
        await api_account.change_password(data, page.settings, page.database, who, desk.mailer, desk.limits)
    except Mistakes as mistakes:
        return page.refuse("security.html", mistakes.errors, **await _facts(page))
    except AppError as error:
        return page.refuse("security.html", error, **await _facts(page))
    return page.go("/me/security", "saved")


@router.post("/me/security/totp")
async def begin_totp(page: Page, who: ConfirmedPerson, desk: SignInDesk) -> Response:
    """Begin to add an authenticator app."""
    try:
        async with page.database.transaction() as session:
            begun = await api_mfa.begin_totp(session, who, page.settings, desk.vault, page.now)
    except AppError as error:
        return page.refuse("security.html", error, **await _facts(page))
    return page.show("totp.html", secret=begun.secret, uri=begun.uri, qr=_drawn(begun.uri), problem=None, errors={})


@router.post("/me/security/totp/confirm")
async def confirm_totp(page: Page, who: ConfirmedPerson, desk: SignInDesk) -> Response:
    """Show that the app works; the recovery codes are shown once."""
    try:
        data = forms.read(CodeProof, {"code": page.text("code")}, page.words)
        async with page.database.transaction() as session:
            made = await api_mfa.confirm_totp(data, session, who, desk.vault, desk.limits, page.now)
    except Mistakes:
        return await _again(page, factors.WrongCode())
    except AppError as error:
        return await _again(page, error)
    return page.show("recovery_codes.html", codes=made.recovery_codes)


async def _again(page: View, error: AppError) -> Response:
    uri = page.text("uri")[:URI_CHARACTERS]
    return page.refuse("totp.html", error, secret=page.text("secret"), uri=uri, qr=_drawn(uri))


def _drawn(uri: str) -> Markup:
    """The address as a QR code, drawn in the page itself."""
    drawing = BytesIO()
    segno.make(uri, error="m").save(drawing, kind="svg", xmldecl=False, svgns=False, scale=5, border=2)
    return Markup(drawing.getvalue().decode())  # noqa: S704  # numbers and fixed words alone


@router.post("/me/security/totp/remove")
async def remove_totp(page: Page, who: ConfirmedPerson) -> Response:
    """Take the app and its recovery codes away."""
    async with page.database.transaction() as session:
        await factors.remove_totp(session, user_id=who.user_id)
    return page.go("/me/security", "removed")


@router.post("/me/security/recovery-codes")
async def new_codes(page: Page, who: ConfirmedPerson) -> Response:
    """New recovery codes, shown once."""
    async with page.database.transaction() as session:
        codes = await factors.renew_recovery_codes(session, user_id=who.user_id)
    return page.show("recovery_codes.html", codes=codes)


@router.post("/me/security/keys/{key_id}/revoke")
async def revoke_key(page: Page, who: SignedInPerson, key_id: UUID) -> Response:
    """Revoke a key, a calendar's address too."""
    async with page.database.transaction() as session:
        await keys.revoke(session, user_id=who.user_id, key_id=key_id)
    return page.go("/me/security", "removed")


@router.post("/me/security/passkeys/options")
async def begin_passkey(page: Page, who: ConfirmedPerson) -> Response:
    """Begin to add a passkey; a script asks."""
    async with page.database.transaction() as session:
        begun = await api_mfa.begin_passkey(session, who, page.settings, page.now)
    return JSONResponse(begun.model_dump(mode="json"), headers=HEADERS)


@router.post("/me/security/passkeys")
async def add_passkey(page: Page, who: ConfirmedPerson, data: PasskeyCreate) -> Response:
    """Keep the passkey that the browser has made."""
    async with page.database.transaction() as session:
        await api_mfa.add_passkey(data, session, who, page.settings, page.now)
    return JSONResponse({"location": "/me/security?said=added"}, headers=HEADERS)


@router.post("/me/security/passkeys/{passkey_id}/remove")
async def remove_passkey(page: Page, who: ConfirmedPerson, passkey_id: UUID) -> Response:
    """Take a passkey away."""
    async with page.database.transaction() as session:
        await passkeys.remove(session, user_id=who.user_id, passkey_id=passkey_id)
    return page.go("/me/security", "removed")


@router.post("/login/passkey/options")
async def begin_passkey_login(page: Page) -> Response:
    """Begin to sign in by a passkey; a script asks."""
    async with page.database.transaction() as session:
        begun = await api_mfa.begin_passkey_login(session, page.settings, page.now)
    return JSONResponse(begun.model_dump(mode="json"), headers=HEADERS)


@router.post("/login/passkey")
async def sign_in_with_passkey(page: Page, desk: SignInDesk, data: PasskeyLogin) -> Response:
    """Sign in by the passkey's answer; it is both factors."""
    life = timedelta(days=page.settings.refresh_token_expire_days)
    async with page.database.transaction() as session:
        user = await passkeys.sign_in(
            session, token=data.token, credential=data.credential, address=page.settings.address, now=page.now
        )
        cookie = await sessions.open_cookie_session(
            session, user=user, life=life, now=page.now, device=desk.device, has_second_factor=True
        )
    response = JSONResponse({"location": HOME[user.role]}, headers=HEADERS)
    set_session_cookie(response, page.settings, cookie)
    return response
