"""Recorded attacks in every free-text field and parameter: nothing breaks, nothing runs, ugly text is only text."""

import os
import random
import sys
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx2
import pytest
from sqlalchemy import func, select

from app.books.models import Book
from app.core.config import Settings
from app.core.db import Database
from app.core.middleware import Shell
from app.users.models import User
from tests import evidence
from tests.conftest import Person
from tests.integration.security import payloads

pytestmark = pytest.mark.anyio

API = "/api/v1"
LEAKS = ("Traceback", "sqlalchemy", "asyncpg", "sqlite3", "psycopg", "syntax error at", "pg_catalog", "/site-packages/")
# Where a text may be stored: how to send it, and where it comes back.
FIELDS = (
    "title", "subtitle", "summary", "contributor", "publisher", "place", "series", "subject", "identifier",
    "classification", "physical_description", "call_number", "note", "shelf_location", "full_name",
)  # fmt: skip
PARAMETERS = (
    "/books?q=", "/books?author=", "/books?subject=", "/books?cursor=", "/books?sort=", "/books/facets?q=",
    "/books/suggest?q=", "/books/availability?ids=", "/copies?barcode=", "/users?q=", "/users?card_number=",
    "/users?cursor=", "/bookings?status=", "/desk/hold-shelf?branch=", "/policies?cursor=", "/books/", "/branches/",
    "/users/", "/bookings/", "/loans/",
)  # fmt: skip
SHIFTS = len(FIELDS) if os.environ.get("FULL") else 1


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit_enabled": False})


@pytest.fixture
async def books(librarian: Person) -> "Shelf":
    return await Shelf.build(librarian)


class Shelf:
    """A book, a copy and a branch whose texts are changed again and again."""

    def __init__(self, client: httpx2.AsyncClient, book: str, copy: str) -> None:
        self.client, self.book, self.copy = client, book, copy

    @classmethod
    async def build(cls, librarian: Person) -> "Shelf":
        book = await librarian.client.post(f"{API}/books", json={"title": "Plain", "languages": ["eng"]})
        book_id = book.json()["id"]
        copy = await librarian.client.post(f"{API}/books/{book_id}/copies", json={"barcode": "B1", "branch": "main"})
        return cls(librarian.client, f"{API}/books/{book_id}", f"{API}/copies/{copy.json()['id']}")

    async def store(self, field: str, text: str) -> tuple[httpx2.Response, Any]:
        """Put a text into a field; the answer, and what the field then holds for a later reader."""
        path, body, pick = self._change(field, text)
        headers = {"If-Match": "*"}
        answer = await self.client.patch(path, json=body, headers=headers)
        read = (await self.client.get(path)).json()
        return answer, pick(read)

    async def store_together(self, texts: dict[str, str]) -> dict[str, tuple[httpx2.Response, Any]]:
        """The same for texts that will be taken, with a request for each thing; one by one where one was refused."""
        stored: dict[str, tuple[httpx2.Response, Any]] = {}
        changes = {field: self._change(field, text) for field, text in texts.items()}
        for path in {path for path, *_ in changes.values()}:
            here = {field: (body, pick) for field, (its, body, pick) in changes.items() if its == path}
            merged = {name: value for body, _ in here.values() for name, value in body.items()}
            answer = await self.client.patch(path, json=merged, headers={"If-Match": "*"})
            if answer.is_error:
                stored |= {field: await self.store(field, texts[field]) for field in here}
            else:
                read = (await self.client.get(path)).json()
                stored |= {field: (answer, pick(read)) for field, (_, pick) in here.items()}
        return stored

    def _change(self, field: str, text: str) -> tuple[str, dict[str, Any], Any]:
        nested: dict[str, tuple[dict[str, Any], Any]] = {
            "contributor": ({"contributors": [{"name": text}]}, lambda book: book["contributors"][0]["name"]),
            "series": ({"series": [text]}, lambda book: book["series"][0]),
            "subject": ({"subjects": [text]}, lambda book: book["subjects"][0]),
            "identifier": (
                {"identifiers": [{"type": "isbn", "value": text}]}, lambda book: book["identifiers"][0]["value"],
            ),
            "classification": (
                {"classifications": [{"scheme": "ddc", "value": text}]},
                lambda book: book["classifications"][0]["value"],
            ),
        }  # fmt: skip
        if field in nested:
            return self.book, *nested[field]
        if field in {"call_number", "note", "shelf_location"}:
            return self.copy, {field: text}, lambda copy: copy[field]
        if field == "full_name":
            return f"{API}/auth/me", {field: text}, lambda me: me[field]
        return self.book, {field: text}, lambda book: book[field]


def _check(answer: httpx2.Response, text: str, where: str) -> None:
    assert answer.status_code < 500, (where, text, answer.status_code)
    kind = answer.headers.get("Content-Type", "application/json")
    assert kind in {"application/json", "application/problem+json"}, (where, text, kind)
    if answer.is_error:
        assert not [leak for leak in LEAKS if leak in answer.text and leak not in text], (where, text, answer.text)
    assert "set-cookie" not in answer.headers


def _seed() -> random.Random:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"seed {seed}\n")
    return random.Random(seed)


async def test_text_that_is_merely_ugly_is_stored_and_comes_back_byte_equal(
    books: Shelf, shared: Path, database: Database
) -> None:
    choice = _seed()
    texts = payloads.strings(shared)
    assert len(texts) >= 2_000
    # Each database takes every second one; with the parameters' test each payload meets two places.
    mine = texts[int(database.is_sqlite) :: 2]
    seen = dict.fromkeys(FIELDS, 0)
    first = choice.randrange(len(FIELDS))
    for shift, start in product(range(first, first + SHIFTS), range(0, len(mine), len(FIELDS))):
        row = {FIELDS[(shift + at) % len(FIELDS)]: text for at, text in enumerate(mine[start : start + len(FIELDS)])}
        taken = {field: text for field, text in row.items() if not payloads.is_refused(text)}
        done = await books.store_together(taken)
        done |= {field: await books.store(field, text) for field, text in row.items() if field not in taken}
        for field, (answer, stored) in done.items():
            text = row[field]
            _check(answer, text, field)
            seen[field] += 1
            assert answer.status_code in {200, 422}, (field, text, answer.text)
            if answer.status_code == 200 and stored is not None:
                assert stored in {text, text.strip()}, (field, text, stored)
            if field == "title":
                is_long = len(text.strip()) > 2_000
                assert (answer.status_code == 422) == (payloads.is_refused(text) or is_long), (text, answer.text)
    assert min(seen.values()) >= 50
    evidence.keep("S4", f"fields on {database.url.get_backend_name()}", sent=sum(seen.values()), broken=0)
    async with database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(Book)) == 1
        assert await session.scalar(select(func.count()).select_from(User)) == 1


async def test_no_parameter_breaks_or_tells_anything(librarian: Person, shared: Path, database: Database) -> None:
    texts = payloads.strings(shared)[int(database.is_sqlite) :: 2]
    seen = dict.fromkeys(PARAMETERS, 0)
    for number, text in enumerate(texts):
        where = PARAMETERS[number % len(PARAMETERS)]
        quoted = "".join(f"%{byte:02X}" for byte in text.encode()[:900])
        answer = await librarian.client.get(f"{API}{where}{quoted}")
        _check(answer, text, where)
        seen[where] += 1
    assert min(seen.values()) >= 50
    evidence.keep("S4", f"parameters on {database.url.get_backend_name()}", sent=sum(seen.values()), broken=0)


async def test_the_recorded_requests_themselves_break_nothing(service: Shell, shared: Path) -> None:
    statuses: dict[int, int] = {}
    for request in payloads.recorded(shared):
        status = await _replay(service, request)
        statuses[status] = statuses.get(status, 0) + 1
    assert sum(statuses.values()) == 2_403
    assert not [status for status in statuses if status >= 500], statuses


async def _replay(service: Shell, request: dict[str, Any]) -> int:
    """One recorded request as the server would hand it over."""
    raw_path, _, query = str(request.get("uri") or "/").encode("utf-8", "replace").partition(b"?")
    data = request.get("data") or ""
    body = (data if isinstance(data, str) else "\r\n".join(map(str, data))).encode("utf-8", "replace")
    headers = [
        (str(name).lower().encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
        for name, value in (request.get("headers") or {}).items()
        if str(name).lower() not in {"host", "content-length"}
    ]
    headers += [(b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "method": str(request.get("method") or "GET"), "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"), "raw_path": raw_path, "query_string": query,
        "root_path": "", "headers": headers, "client": ("203.0.113.9", 1), "server": ("localhost", 80), "state": {},
    }  # fmt: skip
    started: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.append(message["status"])

    await service(scope, receive, send)
    return started[0]
