"""The session cookie of the web pages: setting it, taking it away, and whose it is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.requests import cookie_parser

from app.auth.service import Identity, sessions
from app.core.addresses import LOOPBACK
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import Forbidden

# At the end of a session the browser forgets the pages that it could still show on going back. Not "storage": there it
# keeps settings of the device.
FORGET: Final = {"Clear-Site-Data": '"cache"'}
_SAME_SITE: Final = frozenset({"same-origin", "none"})


class CrossSite(Forbidden):
    code, detail = "cross_site", "This came from another site; open the library's own page and try there."


def set_session_cookie(response: Response, settings: Settings, cookie: str) -> None:
    """Hand out a cookie that no script reads, no other site sends, and no other host or path can plant."""
    response.set_cookie(
        cookie_name(settings),
        cookie,
        max_age=settings.refresh_token_expire_days * 24 * 60 * 60,
        secure=is_secure(settings),
        httponly=True,
        samesite=settings.session_cookie_samesite,
    )


def session_in(given: Mapping[bytes, bytes], name: str) -> str:
    """The cookie of that name among a request's headers, as it came; empty if there is none."""
    cookies = given.get(b"cookie")
    return cookie_parser(cookies.decode("latin-1")).get(name, "") if cookies else ""


def clear_session_cookie(response: Response, settings: Settings) -> None:
    """End the session in the browser: it forgets the cookie, and the pages that it kept."""
    response.headers.update(FORGET)
    response.delete_cookie(cookie_name(settings), secure=is_secure(settings), httponly=True)


async def identify_page(request: Request, settings: Settings, database: Database, now: datetime) -> Identity | None:
    """Who opens a page; a change by a cookie that another site set off is refused.

    Raises:
        CrossSite.
    """
    cookie = request.cookies.get(cookie_name(settings))
    if cookie is None:
        return None
    check_site(request, settings)
    found = await sessions.identify_cookie(database.ask, cookie=cookie, now=now)
    if found is None:
        return None
    identity, is_touch_due = found
    if is_touch_due:
        async with database.transaction() as session:
            await sessions.touch(session, identity=identity, now=now)
    return identity


def check_site(request: Request, settings: Settings) -> None:
    """Refuse a change that another site set off, also for those who are not signed in.

    Raises:
        CrossSite.
    """
    if request.method not in {"GET", "HEAD"} and not _is_from_our_pages(request, settings):
        raise CrossSite


def cookie_name(settings: Settings) -> str:
    """With TLS the name itself makes browsers refuse one planted by a neighbouring host (RFC 6265bis, `__Host-`)."""
    return f"__Host-{settings.session_cookie_name}" if is_secure(settings) else settings.session_cookie_name


def is_secure(settings: Settings) -> bool:
    """SESSION_COOKIE_SECURE, or whether browsers trust the way: TLS, or this machine itself."""
    if settings.session_cookie_secure is not None:
        return settings.session_cookie_secure
    address = urlsplit(settings.address)
    return address.scheme == "https" or address.hostname in LOOPBACK


def _is_from_our_pages(request: Request, settings: Settings) -> bool:
    """By Sec-Fetch-Site, which browsers alone can set; by Origin for those too old to send it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in _SAME_SITE
    return request.headers.get("origin") == settings.address
