"""One page being made: who opened it, in which language and light, what he typed, and how it is answered."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Depends, Request, Response, status
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData
from uuid_utils import uuid7

from app.api import violations
from app.api.circulation import actor_of
from app.api.cookies import check_site, is_secure
from app.api.deps import Now, Who
from app.api.errors import language_of
from app.auth.permissions import Permission
from app.auth.service import Identity
from app.bookings.context import Context
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import AppError, BadRequest
from app.core.i18n import known
from app.core.pagination import MAX_ID
from app.policies import service as policies
from app.users import queries as users
from app.users.models import User
from app.web import covers, words
from app.web.barcodes import barcode
from app.web.files import address_of
from app.web.marking import marked
from app.web.once import DoneAlready, claim, keep

TEMPLATES: Final = Path(__file__).with_name("templates")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self';"
    f" form-action 'self'; base-uri 'none'; frame-ancestors 'none'; report-uri {violations.PATH}"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    "Vary": "Cookie, Accept-Language, HX-Request",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "same-origin",
}
SHARED: Final = "public, max-age=0, s-maxage=1"
"""For a proxy, and no longer: an anonymous reader finds what was committed within a second."""
LIGHT_COOKIE: Final = "light"
LIGHTS: Final = frozenset({"light", "dark"})
A_YEAR_SECONDS: Final = 365 * 24 * 60 * 60


class UnreadableForm(BadRequest):
    code, detail = "unreadable_form", "What was typed holds a character that can't be kept. Go back and type it again."


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.globals.update(
        cover=covers.cover,
        marked=marked,
        barcode=barcode,
        device_name=device_name,
        asset=address_of,
        Permission=Permission,
        new_key=lambda: uuid7().hex,
    )
    return made


@dataclass
class View:
    """What one page needs, whoever reads it."""

    request: Request
    settings: Settings
    database: Database
    who: Identity | None
    user: User | None
    now: datetime
    words: words.Words
    light: str
    form: FormData = field(default_factory=FormData)
    answered: str = ""
    """What a change leads to, kept for the same form sent again."""

    @property
    def me(self) -> Identity:
        """Who is signed in, on pages that nobody else reaches."""
        assert self.who is not None
        return self.who

    @property
    def account(self) -> User:
        assert self.user is not None
        return self.user

    @property
    def is_fragment(self) -> bool:
        """Whether a script asked, and wants the part that changes alone."""
        return self.request.headers.get("hx-request") == "true"

    def may(self, permission: Permission) -> bool:
        return self.who is not None and self.who.may(permission)

    def text(self, name: str) -> str:
        """What was typed into a field, without spaces around it."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """What was typed into all fields of this name, empty ones left out."""
        return [value.strip() for value in self.form.getlist(name) if isinstance(value, str) and value.strip()]

    def number(self, name: str) -> int:
        """The version or id in a field; 0, which nothing has, for everything else."""
        return whole(self.text(name))

    @property
    def typed(self) -> dict[str, str]:
        return {name: value for name, value in self.form.items() if isinstance(value, str)}

    def show(self, template: str, /, status_code: int = 200, **facts: Any) -> HTMLResponse:
        html = (
            environment().get_template(template).render(page=self, path=self.request.url.path, **self.helpers, **facts)
        )
        return HTMLResponse(html, status_code, HEADERS)

    def share(self, response: Response) -> Response:
        """Let a proxy keep a page that is the same for whoever brings nothing of his own, in his language."""
        if self.who is None and not self.request.cookies and response.status_code == status.HTTP_200_OK:
            response.headers["Cache-Control"] = SHARED
        return response

    @property
    def helpers(self) -> Mapping[str, Any]:
        return {"settings": self.settings, "who": self.who, "may": self.may, **self.words.helpers}

    def refuse(self, template: str, error: AppError | Mapping[str, str], /, **facts: Any) -> HTMLResponse:
        """The same page again with what stands in the way, and what was typed."""
        status = error.status if isinstance(error, AppError) else 422
        problem = self.words.refusal(error) if isinstance(error, AppError) else None
        errors = {} if isinstance(error, AppError) else error
        return self.show(template, status, problem=problem, errors=errors, typed=self.typed, **facts)

    def go(self, path: str, said: str = "") -> Response:
        """Lead on after a change; `said` names what the next page tells (templates/said.html)."""
        mark = "&" if "?" in path else "?"
        self.answered = f"{path}{mark}said={quote(said)}" if said else path
        return RedirectResponse(self.answered, 303, HEADERS)

    async def context(self, session: AsyncSession) -> Context:
        rules = await policies.rulebook(session)
        return Context(now=self.now, actor=actor_of(self.me), rules=rules, timezone=self.settings.timezone)

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[AsyncSession]:
        """A transaction in which a form's key is used up: the same form sent twice has one effect.

        Raises:
            app.web.once.DoneAlready: this form was sent before.
        """
        known: DoneAlready | None = None
        async with self.database.transaction() as session:
            try:
                scope = await claim(self.request, session, self.who, self.form, self.now)
            except DoneAlready as done:
                known = done  # told after the commit (app/idempotency/service.py: claim)
            else:
                yield session
                if scope is not None:
                    await keep(session, scope, self.answered)
        if known:
            raise known

    def keep_cookie(self, response: Response, name: str, value: str) -> None:
        """Remember a choice of this device; nothing personal."""
        secure = is_secure(self.settings)
        response.set_cookie(name, value, max_age=A_YEAR_SECONDS, secure=secure, httponly=True, samesite="lax")


def whole(text: str) -> int:
    """The number that a text is, as large as an id may be; 0 for every other text."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ID))
    return int(text) if is_number and int(text) <= MAX_ID else 0


def device_name(agent: str | None) -> str:
    """`Firefox, Linux` of what a browser says of itself; what can't be told apart stands as it is."""
    browsers, systems = (
        ("Firefox", "Edg", "OPR", "Chrome", "Safari"),
        ("Android", "iPhone", "iPad", "Windows", "Mac", "Linux"),
    )
    found = [next((name for name in names if name in (agent or "")), "") for names in (browsers, systems)]
    return ", ".join(found) if all(found) else agent or ""


async def form_of(request: Request) -> FormData:
    """What was typed; a file is for the page that takes it to read, piece by piece."""
    is_typed = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return await request.form() if request.method == "POST" and is_typed else FormData()


async def _view(request: Request, who: Who, now: Now) -> View:
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    check_site(request, settings)
    user = None
    if who is not None:
        async with database.reading() as session:
            user = await users.find(session, who.user_id)
    form = await form_of(request)
    if any("\0" in value for value in form.values() if isinstance(value, str)):
        raise UnreadableForm  # no database takes it, and nobody can type it
    return make(request, settings, database, who, user, now, form=form)


def make(
    request: Request,
    settings: Settings,
    database: Database,
    who: Identity | None,
    user: User | None,
    now: datetime,
    form: FormData | None = None,
) -> View:
    locale = known(user.locale) if user else language_of(request)
    light = request.cookies.get(LIGHT_COOKIE, "")
    return View(
        request, settings, database, who, user, now, words.words_for(locale, settings.timezone),
        light if light in LIGHTS else "", form or FormData(),
    )  # fmt: skip


Page = Annotated[View, Depends(_view)]
