"""Signing in and out, the second factor, registering, forgotten passwords; and the choices of a device."""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Response

from app.api.cookies import clear_session_cookie, set_session_cookie
from app.api.credentials import Desk, SignInDesk, prove, prove_by_code
from app.api.v1.endpoints import account as api_account
from app.api.v1.endpoints import auth as api_auth
from app.auth.schemas import Credentials, Forgotten, MailedToken, MfaRequired, PasswordReset, Registration
from app.auth.service import accounts, sessions
from app.core.errors import AppError
from app.core.i18n import LANGUAGE_COOKIE, LOCALES
from app.users import service as users
from app.users.models import User
from app.web import forms
from app.web.forms import Mistakes
from app.web.page import LIGHT_COOKIE, Page, View

router = APIRouter()

HOME: Final = {"reader": "/me", "librarian": "/desk", "admin": "/desk"}


@router.get("/login")
async def ask(page: Page) -> Response:
    """The way in."""
    return page.show("login.html", **_asked(page), typed={}, problem=None, errors={})


@router.post("/login")
async def sign_in(page: Page, desk: SignInDesk) -> Response:
    """Sign in by address and password, or go on to the second proof."""
    facts = _asked(page)
    try:
        data = forms.read(Credentials, {name: page.form.get(name, "") for name in ("email", "password")}, page.words)
        proved = await prove(data, desk)
    except Mistakes:
        return page.refuse("login.html", accounts.WrongCredentials(), **facts)
    except AppError as error:
        return page.refuse("login.html", error, **facts)
    if isinstance(proved, MfaRequired):
        return page.show("second_factor.html", token=proved.mfa_token, **facts, problem=None, errors={})
    return await _let_in(page, desk, proved, has_second_factor=False)


@router.post("/login/code")
async def sign_in_with_code(page: Page, desk: SignInDesk) -> Response:
    """The second proof: a code of the app, a recovery code, or the one that was mailed."""
    token = page.text("mfa_token")
    try:
        user, is_enrolled = await prove_by_code(token, page.text("code"), desk)
    except AppError as error:
        return page.refuse("second_factor.html", error, token=token, **_asked(page))
    return await _let_in(page, desk, user, has_second_factor=is_enrolled)


async def _let_in(page: View, desk: Desk, user: User, *, has_second_factor: bool) -> Response:
    """Open the session and lead on: to what was being sent when the last one ended, or to where he was going."""
    life = timedelta(days=page.settings.refresh_token_expire_days)
    async with page.database.transaction() as session:
        if page.who is not None:
            await sessions.close_session(session, session_id=page.who.session_id)
        cookie = await sessions.open_cookie_session(
            session, user=user, life=life, now=page.now, device=desk.device, has_second_factor=has_second_factor
        )
    target = inside(page.text("next")) or HOME[user.role]
    kept = page.text("kept")
    response = page.show("go_on.html", target=target, fields=parse_qsl(kept)) if kept else page.go(target)
    set_session_cookie(response, page.settings, cookie)
    return response


@router.post("/logout")
async def sign_out(page: Page) -> Response:
    """End this session."""
    if page.who is not None:
        async with page.database.transaction() as session:
            await sessions.close_session(session, session_id=page.who.session_id)
    response = page.go("/", "signed-out")
    clear_session_cookie(response, page.settings)
    return response


@router.get("/register")
async def ask_to_register(page: Page) -> Response:
    """A card for a new reader."""
    return page.show("register.html", typed={}, problem=None, errors={})


@router.post("/register")
async def register(page: Page, desk: SignInDesk) -> Response:
    """Make an account; open libraries let its owner in at once, the others ask by mail first."""
    response = Response()
    try:
        fields = {name: page.form.get(name, "") for name in ("email", "password", "full_name")}
        data = forms.read(Registration, fields, page.words)
        await api_auth.register(
            data, page.settings, page.database, desk.mailer, desk.limits, desk.host, page.now, response
        )
    except Mistakes as mistakes:
        return page.refuse("register.html", mistakes.errors)
    except AppError as error:
        return page.refuse("register.html", error)
    if page.settings.registration != "open":
        return page.go("/login", "mail")
    proved = await prove(Credentials(email=data.email, password=data.password), desk)
    if isinstance(proved, MfaRequired):
        return page.go("/login", "mail")
    return await _let_in(page, desk, proved, has_second_factor=False)


@router.get("/forgot")
async def ask_for_letter(page: Page) -> Response:
    """A forgotten password."""
    return page.show("forgot.html", typed={}, problem=None, errors={})


@router.post("/forgot")
async def send_letter(page: Page, desk: SignInDesk) -> Response:
    """Send the letter with which a new password is chosen; the answer is the same for every address."""
    try:
        data = forms.read(Forgotten, {"email": page.text("email")}, page.words)
        await api_account.forgot_password(data, page.database, desk.mailer, desk.limits, desk.host, page.now)
    except Mistakes as mistakes:
        return page.refuse("forgot.html", mistakes.errors)
    except AppError as error:
        return page.refuse("forgot.html", error)
    return page.go("/login", "mail")


@router.get("/reset")
async def ask_for_password(page: Page, token: str = "") -> Response:
    """A new password, with the token that was mailed."""
    return page.show("reset.html", token=token, typed={}, problem=None, errors={})


@router.post("/reset")
async def reset(page: Page, desk: SignInDesk) -> Response:
    """Choose the new password; everybody is signed out."""
    token = page.text("token")
    try:
        data = forms.read(PasswordReset, {"token": token, "password": page.form.get("password", "")}, page.words)
        await api_account.reset_password(data, page.settings, page.database, desk.mailer, page.now)
    except Mistakes as mistakes:
        return page.refuse("reset.html", mistakes.errors, token=token)
    except AppError as error:
        return page.refuse("reset.html", error, token=token)
    return page.go("/login", "password")


@router.get("/verify")
async def ask_to_verify(page: Page, token: str = "") -> Response:
    """What a mail asked; a button, since mail programs open links by themselves."""
    return page.show("verify.html", token=token, typed={}, problem=None, errors={})


@router.post("/verify")
async def verify(page: Page) -> Response:
    """Confirm it."""
    token = page.text("token")
    try:
        data = forms.read(MailedToken, {"token": token}, page.words)
        async with page.database.transaction() as session:
            await accounts.verify(session, token=data.token, now=page.now)
    except Mistakes:
        return page.refuse("verify.html", accounts.InvalidMailToken(), token=token)
    except AppError as error:
        return page.refuse("verify.html", error, token=token)
    return page.go("/login", "verified")


@router.post("/language")
async def choose_language(page: Page) -> Response:
    """Remember the language: with the account, or on this device."""
    language = page.text("language")
    response = page.go(inside(page.text("next")) or "/")
    if language in LOCALES:
        page.keep_cookie(response, LANGUAGE_COOKIE, language)
        if page.who is not None:
            async with page.database.transaction() as session:
                await users.change(session, user_id=page.who.user_id, changes={"locale": language}, if_match=None)
    return response


@router.post("/light")
async def choose_light(page: Page) -> Response:
    """Remember day or night on this device."""
    response = page.go(inside(page.text("next")) or "/")
    if (light := page.text("light")) in {"light", "dark"}:
        page.keep_cookie(response, LIGHT_COOKIE, light)
    return response


def _asked(page: View) -> dict[str, Any]:
    query = page.request.query_params
    target = page.text("next") or query.get("next", "")
    return {"next_path": inside(target), "kept": page.text("kept"), "action": "/login"}


def inside(target: str) -> str:
    """The address, if it leads to a page of this library and nowhere else."""
    isinside = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if isinside else ""
