"""The session cookie of the web pages."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import Response
from starlette.requests import Request

from app.api import cookies
from app.auth.service import sessions
from app.core.config import Settings
from app.core.db import Database
from app.users import queries as user_queries
from tests.conftest import Person

pytestmark = pytest.mark.anyio


def _request(settings: Settings, method: str, cookie: str | None, **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if cookie is not None:
        raw.append((b"cookie", f"{cookies.cookie_name(settings)}={cookie}".encode()))
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw})


@pytest.mark.parametrize(
    ("address", "is_secure", "expected"),
    [
        ("https://library.test", None, ["__Host-library_session=", "HttpOnly", "Secure", "SameSite=lax", "Path=/"]),
        ("http://localhost:8000", None, ["__Host-library_session=", "HttpOnly", "Secure", "SameSite=lax", "Path=/"]),
        ("http://localhost:8000", False, ["library_session=", "HttpOnly", "SameSite=lax", "Path=/"]),
    ],
)
async def test_the_cookie_is_out_of_reach_for_scripts_and_neighbours(
    settings: Settings, address: str, expected: list[str], *, is_secure: bool | None
) -> None:
    response = Response()
    cookies.set_session_cookie(
        response, settings.model_copy(update={"public_url": address, "session_cookie_secure": is_secure}), "value"
    )
    header = response.headers["set-cookie"]
    assert header.startswith(expected[0])
    assert all(part in header for part in expected)
    assert "Domain" not in header
    assert ("Secure" in header) == ("Secure" in expected)


async def test_a_page_knows_its_visitor_and_refuses_changes_from_other_sites(
    settings: Settings, database: Database, reader: Person
) -> None:
    now = datetime.now(UTC)
    async with database.transaction() as session:
        user = await user_queries.by_email(session, reader.email)
        assert user is not None
        cookie = await sessions.open_cookie_session(session, user=user, life=timedelta(days=1), now=now)

    async def who(method: str, value: str | None = cookie, **headers: str) -> object:
        found = await cookies.identify_page(
            _request(settings, method, value, **headers), settings, database, now + timedelta(minutes=6)
        )
        return found and found.user_id

    assert await who("GET") == user.id
    assert await who("POST", sec_fetch_site="same-origin") == user.id
    assert await who("POST", origin=settings.address) == user.id
    for headers in (
        {},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": settings.address},
        {"origin": "null"},
        {"origin": settings.address + ".evil.test"},
    ):
        with pytest.raises(cookies.CrossSite):
            await who("POST", **headers)
    assert await who("GET", "x" * 43) is None
    assert await who("GET", None) is None
