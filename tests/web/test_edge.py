"""What pages answer without a browser, on both databases: who may see them, what they refuse, what they change."""

import asyncio
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx2
import pyotp
import pytest
from pydantic import SecretStr

from app.core.config import Environment, Settings
from app.core.db import Database
from app.core.exchange import Exchange, Message
from app.core.middleware import Shell
from app.main import create_app
from app.users.models import Role
from tests.conftest import PASSWORD, SECRET, Person, _client, close, sign_in_as
from tests.web import pages

pytestmark = pytest.mark.anyio

OURS = {"Accept": "text/html", "Origin": "http://localhost:8000"}


async def see(client: httpx2.AsyncClient, path: str, **form: Any) -> httpx2.Response:
    """Open a page, or send a form, as a browser on our own pages does."""
    if form:
        return await client.post(path, data=form, headers=OURS)
    return await client.get(path, headers=OURS)


async def add_book(librarian: Person, barcode: str | None = "B-1", **fields: Any) -> int:
    made = await librarian.client.post("/api/v1/books", json={"title": "The Lamp", "languages": ["eng"], **fields})
    book_id: int = made.json()["id"]
    if barcode:
        await librarian.client.post(f"/api/v1/books/{book_id}/copies", json={"barcode": barcode})
    return book_id


async def test_a_stranger_is_led_to_the_way_in_and_a_reader_sees_no_staff_page(
    client: httpx2.AsyncClient, reader: Person
) -> None:
    for path in (*pages.READER, *pages.ADMIN):
        if path.startswith(("{", "/books")) or "{" in path:
            continue
        answer = await see(client, path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/login?next="), path
    for path in pages.ADMIN:
        if not path.startswith("{") and "{" not in path:
            assert (await see(reader.client, path)).status_code == 403, path


async def test_a_change_that_another_site_set_off_is_refused(reader: Person, librarian: Person) -> None:
    book_id = await add_book(librarian)
    for headers in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        answer = await reader.client.post(f"/books/{book_id}/bookings", headers={"Accept": "text/html", **headers})
        assert answer.status_code == 403
        assert "another site" in answer.text
    assert (await reader.client.get("/api/v1/auth/me/bookings")).json()["items"] == []


async def test_every_page_has_the_strict_policy(client: httpx2.AsyncClient) -> None:
    for path in ("/", "/login", "/nowhere"):
        headers = (await see(client, path)).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"


async def test_a_proxy_may_keep_what_is_the_same_for_all_and_nothing_else(
    client: httpx2.AsyncClient, reader: Person, librarian: Person
) -> None:
    book_id = await add_book(librarian)
    for path in ("/", "/?q=lamp", f"/books/{book_id}", f"/books/{book_id}/status", "/suggest?q=la"):
        first, second = await see(client, path), await see(client, path)
        assert first.headers["cache-control"] == "public, max-age=0, s-maxage=1", path
        assert first.text == second.text, path
        assert "Accept-Language" in first.headers["vary"]
        for own in ({"Cookie": "light=dark"}, {"Cookie": "other=1"}, {"Authorization": "Bearer x"}):
            answer = await client.get(path, headers=OURS | own)
            assert answer.headers["cache-control"] in {"private, no-store", "no-store"}, (path, own)
        assert (await see(reader.client, path)).headers["cache-control"] == "private, no-store"
    for path in ("/login", "/nowhere", "/me", "/?year_from=x", "/books/99999"):
        assert (await see(client, path)).headers["cache-control"] == "private, no-store", path


async def test_what_is_not_there_has_a_page_of_its_own(client: httpx2.AsyncClient, librarian: Person) -> None:
    book_id = await add_book(librarian, None)
    await librarian.client.delete(f"/api/v1/books/{book_id}", headers={"If-Match": "*"})
    gone = await see(client, f"/books/{book_id}")
    assert gone.status_code == 410
    assert "has left the library" in gone.text
    missing = await client.get("/nowhere", headers={**OURS, "Accept-Language": "ru"})
    assert missing.status_code == 404
    assert "Такой страницы нет" in missing.text
    assert (await client.get("/nowhere")).headers["content-type"] == "application/problem+json"


async def test_a_stopped_database_has_a_page_of_its_own(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None, data_dir=tmp_path, secret_key=SecretStr(SECRET), environment=Environment.DEVELOPMENT,
        database_url=SecretStr(f"sqlite:///{tmp_path}/nowhere/library.db"),
    )  # fmt: skip
    shell = create_app(settings)
    shutil.rmtree(tmp_path / "nowhere")
    async with _client(shell) as client:
        answer = await see(client, "/")
    await close(shell)
    await _sqlite_rests()
    assert answer.status_code == 503
    assert "can&#39;t answer just now" in answer.text
    assert answer.headers["retry-after"]


async def _sqlite_rests() -> None:
    """aiosqlite doesn't wait for the thread of a connection that failed to open; it needs the loop to its end."""
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 5)


async def test_signing_in_leads_nowhere_else(client: httpx2.AsyncClient, reader: Person) -> None:
    for target in ("https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"):
        answer = await see(client, "/login", email=reader.email, password=PASSWORD, next=target)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/me"
    answer = await see(client, "/login", email=reader.email, password=PASSWORD, next="/me/profile")
    assert answer.headers["location"] == "/me/profile"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-library_session=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    wrong = await see(client, "/login", email=reader.email, password="not this one")
    assert wrong.status_code == 401
    assert f'value="{reader.email}"' in wrong.text


async def test_a_second_factor_is_set_up_and_asked_for_on_pages(client: httpx2.AsyncClient, reader: Person) -> None:
    begun = await see(reader.client, "/me/security/totp", go="1")
    secret = re.findall(r'name="secret" value="(\w+)"', begun.text)[0]
    codes = await see(reader.client, "/me/security/totp/confirm", code=pyotp.TOTP(secret).now(), secret=secret, uri="x")
    recovery = re.findall(r"<li>([\w-]+)</li>", codes.text)[0]
    asked = await see(client, "/login", email=reader.email, password=PASSWORD)
    token = re.findall(r'name="mfa_token" value="([^"]+)"', asked.text)[0]
    refused = await see(client, "/login/code", mfa_token=token, code="000000")
    assert refused.status_code == 422
    let_in = await see(client, "/login/code", mfa_token=token, code=recovery, next="/me")
    assert let_in.status_code == 303
    cookie = let_in.headers["set-cookie"].split(";")[0]
    mine = await client.get("/me/security", headers={**OURS, "Cookie": cookie})
    assert "An authenticator app is set up." in mine.text


async def test_due_dates_come_to_a_calendar_without_a_session(
    client: httpx2.AsyncClient, reader: Person, librarian: Person
) -> None:
    await add_book(librarian, title="Lamps, light; shade")
    await librarian.client.post("/api/v1/loans", json={"copy_barcode": "B-1", "card_number": reader.card_number})
    shown = await see(reader.client, "/me/calendar", go="1")
    path = re.findall(r"http://localhost:8000(/calendar/\S+\.ics)", shown.text)[0]
    feed = await client.get(path)
    assert feed.headers["content-type"] == "text/calendar; charset=utf-8"
    assert "SUMMARY:Return: Lamps\\, light\\; shade\r\n" in feed.text
    assert (await client.get("/calendar/lib_nothing.ics")).status_code == 404
    key = (await reader.client.get("/api/v1/auth/api-keys")).json()["items"][0]["id"]
    await see(reader.client, f"/me/security/keys/{key}/revoke", go="1")
    assert (await client.get(path)).status_code == 404


async def test_a_scan_with_the_same_key_has_one_effect_and_one_answer(librarian: Person, reader: Person) -> None:
    await add_book(librarian)
    headers = {**OURS, "HX-Request": "true", "Idempotency-Key": "scan-1"}
    form = {"code": "B-1", "card": reader.card_number, "mode": ""}
    first = await librarian.client.post("/desk/scans", data=form, headers=headers)
    again = await librarian.client.post("/desk/scans", data=form, headers=headers)
    assert 'data-kind="ok"' in first.text
    assert again.text == first.text
    assert again.headers["repeated"] == "true"
    assert "repeated" not in first.headers


async def test_the_desk_answers_a_rule_with_a_question_that_staff_may_answer(
    librarian: Person, reader: Person, service: Shell, database: Database
) -> None:
    book_id = await add_book(librarian)
    async with sign_in_as(service, database, Role.READER, email="other@library.test") as other:
        await other.client.post("/api/v1/bookings", json={"book_id": book_id, "pickup_branch": "main"})
        card = {"card": reader.card_number, "mode": ""}
        refused = await see(librarian.client, "/desk/scans", code="B-1", **card)
        assert 'value="allow:promised_to_another"' in refused.text
        allowed = await see(librarian.client, "/desk/scans", code="B-1", answer="allow:promised_to_another", **card)
        assert "Issued" in allowed.text
    returned = await see(librarian.client, "/desk/scans", code="B-1", card="", mode="returns")
    assert "Hold shelf" in returned.text
    typed = await see(librarian.client, "/desk/scans", code="И-1", card="", mode="returns")  # B under a Russian layout
    assert "Hold shelf" in typed.text
    unknown = await see(librarian.client, "/desk/scans", code="<b>X9</b>", card="", mode="")
    assert "Unknown code &lt;b&gt;X9&lt;/b&gt;" in unknown.text


async def test_staff_keep_the_library_by_forms(admin: Person, reader: Person, librarian: Person) -> None:
    first, second = await add_book(librarian, "B-1"), await add_book(librarian, "B-2")
    me = (await reader.client.get("/api/v1/auth/me")).json()
    closed = {"version": "1", "day": "2027-01-01", "is_open": "true", "month": "2027-01"}
    colleague = {"email": "new@library.test", "full_name": "New One", "role": "librarian", "branches": "hill"}
    renamed = {name: str(me[name]) for name in ("version", "email", "card_number", "category", "role")}
    renamed |= {"full_name": "Renamed", "locale": "ru"}
    for path, form, leads_to in (
        ("/branches", {"id": "hill", "name": "Hill branch"}, "/branches"),
        ("/branches/hill/calendar", closed, "/branches/hill"),
        ("/policies/new", {"category": "guest", "loan_days": "3"}, "/policies"),
        ("/readers/new", colleague, "/readers/"),
        (f"/readers/{me['id']}", renamed, "/readers/"),
        (f"/cataloguing/{first}/merge", {"into": str(second)}, f"/books/{second}"),
    ):
        answer = await see(admin.client, path, **form)
        assert answer.status_code == 303, (path, re.sub(r"<[^>]+>", " ", answer.text)[-1500:])
        assert answer.headers["location"].startswith(leads_to)
    assert "closed*" in re.sub(r"\s|<[^>]+>", "", (await see(admin.client, "/branches/hill?month=2027-01")).text)
    assert (await reader.client.get("/api/v1/auth/me")).json()["full_name"] == "Renamed"
    assert (await see(admin.client, f"/books/{first}")).status_code == 308
    explained = await see(admin.client, f"/policies?card_number={reader.card_number}&copy_barcode=B-1")
    assert "The built-in terms decide." in explained.text
    wrong = await see(admin.client, f"/readers/{me['id']}/payments", amount="ten")
    assert wrong.status_code == 422
    assert 'value="ten"' in wrong.text
    too_much = await see(admin.client, f"/readers/{me['id']}/payments", amount="2,50")
    assert too_much.status_code == 409
    numbers = await see(admin.client, "/statistics/loans.csv")
    assert numbers.text.count("\r\n") == 13


async def test_a_streamed_answer_outlives_the_limit_on_idle_bodies() -> None:
    """The page of a book listens for hours; the limit is for bodies that don't come."""
    messages: list[tuple[float, Message]] = [
        (0.0, {"type": "http.request", "body": b""}),
        (0.3, {"type": "http.disconnect"}),
    ]
    coming = iter(messages)

    async def receive() -> Message:
        seconds, message = next(coming)
        await asyncio.sleep(seconds)
        return message

    async def send(_message: Message) -> None:
        raise AssertionError

    exchange = Exchange({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    exchange.idle_limit(0.05)
    assert (await exchange.receive())["type"] == "http.request"
    assert (await exchange.receive())["type"] == "http.disconnect"


async def test_a_status_that_no_form_offers_is_refused_in_place(librarian: Person) -> None:
    await add_book(librarian)
    [copy] = (await librarian.client.get("/api/v1/copies?barcode=B-1")).json()["items"]
    form = {"status": "flying", "reason": "a slip"}
    answer = await librarian.client.post(f"/copies/{copy['id']}/status", data=form, headers=OURS)
    assert answer.status_code == 422, answer.text
