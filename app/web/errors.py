"""Pages for what went wrong: what happened, what to do, and nothing that was typed is lost."""

from datetime import UTC, datetime
from functools import cache
from typing import Final
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app.api.cookies import clear_session_cookie
from app.api.deps import ConfirmationRequired, SecondFactorRequired
from app.api.errors import ValidationFailed, language_of
from app.core.config import Settings
from app.core.errors import AppError, Unauthorized, Unprocessable
from app.core.exchange import ErrorPage, Headers, Scope
from app.core.lanes import Overloaded
from app.web import page
from app.web.once import FIELD, DoneAlready

SERVER_FAULT: Final = 5
_PROGRAMS: Final = ("/health", "/metrics", "/openapi.json", "/static/", "/docs", "/redoc")


class BadAddress(Unprocessable):
    code, detail = (
        "bad_address",
        "Something in this address can't be right. Go back and try again, or search the catalogue.",
    )


async def answer(request: Request, error: AppError) -> Response | None:
    """The page of a refusal; None for programs, which get a problem document."""
    settings: Settings = request.app.state.settings
    if not _is_page(request.scope, settings):
        return None
    if isinstance(error, ConfirmationRequired) and request.method == "GET":
        return RedirectResponse(f"/confirm?next={quote(_here(request))}", 303, page.HEADERS)
    if isinstance(error, SecondFactorRequired):
        return RedirectResponse("/me/security?said=factor-needed", 303, page.HEADERS)
    view = page.make(request, settings, request.app.state.database, None, None, datetime.now(UTC))
    if isinstance(error, ValidationFailed):
        error = BadAddress()  # forms are judged by their pages: what is left are addresses that nobody was given
    if view.is_fragment:
        return view.show("errors/fragment.html", error.status, error=error)
    if isinstance(error, Unauthorized | ConfirmationRequired):
        return await _ask_who(view, request, error)
    return _page(view, error)


async def _ask_who(view: page.View, request: Request, error: AppError) -> Response:
    """The way to sign in; a form that was being sent is kept, and offered again behind it."""
    if request.method == "GET":
        response = RedirectResponse(f"/login?next={quote(_here(request))}", 303, page.HEADERS)
        if isinstance(error, Unauthorized):
            clear_session_cookie(response, view.settings)
        return response
    form = await page.form_of(request)
    kept = urlencode([(name, value) for name, value in form.multi_items() if isinstance(value, str) and name != FIELD])
    address = "/confirm" if isinstance(error, ConfirmationRequired) else "/login"
    return view.show(
        "login.html", error.status, action=address, next_path=request.url.path, kept=kept, typed={}, problem=None,
        errors={},
    )  # fmt: skip


def shell_page(settings: Settings) -> ErrorPage:
    """Pages for what the shell refuses before the application is asked: too busy, too often, a broken address."""

    def render(scope: Scope, error: AppError, request_id: str) -> tuple[Headers, bytes] | None:
        if not _is_page(scope, settings):
            return None
        if isinstance(error, Overloaded):
            request = Request(scope)
            light = request.cookies.get(page.LIGHT_COOKIE)
            return busy(language_of(request), light if light in page.LIGHTS else "")
        scope.setdefault("state", {})["request_id"] = request_id
        return made(scope, error)

    def made(scope: Scope, error: AppError) -> tuple[Headers, bytes]:
        view = page.make(Request(scope), settings, None, None, None, datetime.now(UTC))  # type: ignore[arg-type]  # never read
        response = _page(view, error)
        left_out = {b"content-length", *(name.lower().encode() for name in error.headers)}  # the shell adds them
        return [item for item in response.raw_headers if item[0] not in left_out], bytes(response.body)

    @cache
    def busy(locale: str, light: str) -> tuple[Headers, bytes]:
        """Made once: what a crowd is turned away with must cost next to nothing. The page names no address."""
        headers = [(b"accept-language", locale.encode()), (b"cookie", f"{page.LIGHT_COOKIE}={light}".encode())]
        bare = {"type": "http", "method": "GET", "path": "", "query_string": b"", "headers": headers, "state": {}}
        return made(bare, Overloaded())

    return render


async def done_already(_request: Request, error: Exception) -> Response:
    """The same form again: lead to where it led the first time."""
    assert isinstance(error, DoneAlready)
    return RedirectResponse(error.location, 303, page.HEADERS)


def _page(view: page.View, error: AppError) -> HTMLResponse:
    templates = {404: "errors/404.html", 410: "errors/410.html", 503: "errors/503.html"}
    name = templates.get(
        error.status, "errors/500.html" if error.status // 100 == SERVER_FAULT else "errors/refused.html"
    )
    response = view.show(name, error.status, error=error, request_id=view.request.scope["state"].get("request_id", ""))
    for header, value in error.headers.items():
        response.headers[header] = value
    return response


def _is_page(scope: Scope, settings: Settings) -> bool:
    path = scope["path"]
    if path.startswith((f"{settings.api_v1_str}/", *_PROGRAMS)) or path == settings.api_v1_str:
        return False
    headers = dict(scope["headers"])
    return b"text/html" in headers.get(b"accept", b"") or b"hx-request" in headers


def _here(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
