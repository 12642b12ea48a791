"""The way out: on every page of somebody who is signed in, and what the browser is told at the end of a session."""

import httpx2
import pytest

from app.api.cookies import cookie_name
from app.core.config import Settings
from tests.conftest import PASSWORD, Person
from tests.web import pages
from tests.web.test_edge import OURS, see

pytestmark = pytest.mark.anyio


async def test_every_page_of_somebody_signed_in_has_a_way_out(librarian: Person, admin: Person) -> None:
    for person in (librarian, admin):
        seen = {path: await see(person.client, path) for path in (*pages.READER, *pages.ADMIN) if "{" not in path}
        opened = {path: page.text for path, page in seen.items() if page.status_code == 200}
        assert len(opened) >= 20
        for path, text in opened.items():
            assert '<form method="post" action="/logout"' in text.partition("<main")[0], path


async def test_at_the_end_of_a_session_the_browser_is_told_to_forget(
    client: httpx2.AsyncClient, reader: Person, settings: Settings
) -> None:
    form = {"email": reader.email, "password": PASSWORD}
    for way_out in ("/logout", "/me"):
        signed_in = await client.post("/login", data=form, headers=OURS)
        cookie = signed_in.cookies[cookie_name(settings)]
        client.cookies.clear()
        mine = OURS | {"Cookie": f"{cookie_name(settings)}={cookie}"}
        assert "Clear-Site-Data" not in (await client.get("/me", headers=mine)).headers
        gone = await client.post("/logout", headers=mine)
        if way_out == "/me":  # in another tab, which still shows what was his
            gone = await client.get("/me", headers=mine)
        assert gone.status_code == 303
        assert gone.headers["Clear-Site-Data"] == '"cache"'
        assert f'{cookie_name(settings)}=""' in gone.headers["Set-Cookie"]
    assert (await reader.client.post("/api/v1/auth/logout")).headers["Clear-Site-Data"] == '"cache"'
