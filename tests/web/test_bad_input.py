"""Every form and every page that takes input, with bad input of each kind: a page answers, and nothing is changed."""

import re
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import httpx2
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import text

from app.core.config import Settings
from app.core.db import Database
from app.main import build_api
from tests.conftest import Person
from tests.integration.uploads import samples
from tests.web.forms import FORMS, QUERIES
from tests.web.test_edge import OURS, add_book, see

pytestmark = pytest.mark.anyio

SCRIPT: Final = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
NOBODY: Final = "01890000-0000-7000-8000-000000000000"
BAD: Final[dict[str, Any]] = {
    "empty": "", "far too long": "x" * 20_000, "too many digits": "9" * 5_000, "a number beyond any": "9" * 19,
    "a wrong type": "-1.5e3", "control characters": "a\x01\x1b\r\nb", "a NUL": "a\x00b", "markup": SCRIPT,
    "another row's id": NOBODY, "doubled": ["first", "second"], "missing": None,
}  # fmt: skip
BAD_IDS: Final = ("0", "-1", "9" * 19, "9" * 400, "x%00y", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", NOBODY, "None", "%20")
# What a refused form must leave as it was.
KEPT: Final = ("books", "copies", "users", "branches", "policies", "loans", "bookings", "ledger_entries")
# Whoever signs in leaves the session that he had.
STRANGERS: Final = ("/login", "/login/code", "/register")
PROGRAMS: Final = ("/passkey", "/calendar/")  # scripts and calendar programs ask these


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit_enabled": False})


def routes(method: str) -> dict[str, APIRoute]:
    """Every page that answers to this method, by the template of its address."""
    found: dict[str, APIRoute] = {}
    for context in iter_route_contexts(build_api(Settings(_env_file=None)).routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or not route.endpoint.__module__.startswith("app.web.pages"):
            continue
        if method in (context.methods or ()):
            found[context.path or ""] = route
    return found


def test_every_form_is_listed_and_every_one_listed_is_a_form() -> None:
    assert routes("POST").keys() == FORMS.keys(), "enter new forms in tests/web/forms.py"


async def build(admin: Person, reader: Person) -> dict[str, str]:
    """What the addresses name: books, a copy, a loan, a booking, terms."""
    book, other = await add_book(admin, "B-1"), await add_book(admin, "B-2")
    third = await add_book(admin, "B-3")
    body = {"copy_barcode": "B-3", "card_number": reader.card_number, "branch": "main"}
    loan = (await admin.client.post("/api/v1/loans", json=body)).json()["id"]
    booked = await admin.client.post("/api/v1/bookings", json={"book_id": third, "pickup_branch": "main"})
    copy = (await admin.client.get("/api/v1/copies?barcode=B-1")).json()["items"][0]["id"]
    policy = (await admin.client.post("/api/v1/policies", json={"category": "adult", "branch": "main"})).json()["id"]
    user = (await reader.client.get("/api/v1/auth/me")).json()["id"]
    named = {
        "book_id": book,
        "other_book": other,
        "copy_id": copy,
        "loan_id": loan,
        "policy_id": policy,
        "user_id": user,
    }
    named |= {"booking_id": booked.json().get("id", NOBODY), "branch_id": "main", "card": reader.card_number}
    named |= dict.fromkeys(("session_id", "key_id", "passkey_id", "import_id"), NOBODY)
    return {name: str(value) for name, value in named.items()} | {"key": "lib_x", "kind": "csv", "name": "loans"}


def judge(answer: httpx2.Response, what: str) -> list[str]:
    """What is wrong with an answer."""
    wrong = [f"{answer.status_code}"] if answer.status_code >= 500 else []
    if answer.status_code >= 400 and not any(part in what for part in PROGRAMS):
        kind = answer.headers.get("content-type", "")
        if not kind.startswith("text/html"):
            wrong.append(kind)
        said = re.sub(r"<[^>]+>|\s+", " ", answer.text)
        wrong += [word for word in ("`errors`", "Input should", "validation error", "Traceback") if word in said]
        if not re.search(r'role="alert"|id="problems"|<h1', answer.text):
            wrong.append("says nothing")
    if SCRIPT in answer.text or "<script>alert" in answer.text or "<img src=x" in answer.text:
        wrong.append("reflects markup")
    return [f"{what}: {', '.join(wrong)}"] if wrong else []


async def rows(database: Database) -> list[Any]:
    async with database.reading() as session:
        asked = [text(f"SELECT * FROM {table}") for table in KEPT]  # the names above
        return [sorted(map(repr, (await session.execute(question)).all())) for question in asked]


def variants(fields: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The form with one field at a time gone wrong."""
    yield "nothing at all", {}
    for name in fields:
        for kind, bad in BAD.items():
            yield f"{name} {kind}", {key: value for key, value in (fields | {name: bad}).items() if value is not None}


async def test_no_form_breaks_tells_or_changes_anything_on_bad_input(
    admin: Person, reader: Person, client: httpx2.AsyncClient, database: Database
) -> None:
    named = await build(admin, reader)
    wrong: list[str] = []
    for path, fields in FORMS.items():
        filled = {name: value.format_map(named) for name, value in fields.items()}
        for what, form in variants(filled):
            if "idempotency_key" in form and "idempotency_key" not in what:
                form["idempotency_key"] = uuid4().hex
            before = await rows(database)
            sender = client if path in STRANGERS else admin.client
            answer = await sender.post(path.format_map(named), data=form, headers=OURS)
            assert (answer.status_code != 401) or path in (*STRANGERS, "/confirm", "/login/passkey"), path
            wrong += judge(answer, f"{path} with {what}")
            if answer.status_code >= 400 and await rows(database) != before:
                wrong.append(f"{path} with {what}: refused, and yet something changed")
    assert not wrong, "\n".join(wrong)


async def test_no_address_of_a_page_breaks_on_bad_input(admin: Person, reader: Person) -> None:
    named = await build(admin, reader)
    wrong: list[str] = []
    for method in ("GET", "POST"):
        for path in routes(method):
            for name in re.findall(r"{(\w+)}", path):
                for bad in BAD_IDS:
                    url = path.format_map(named | {name: bad})
                    answer = await admin.client.request(method, url, headers=OURS)
                    wrong += judge(answer, f"{method} {path} with {url[:90]}")
    for path, route in routes("GET").items():
        for name in (*(field.alias for field in route.dependant.query_params), *QUERIES.get(path, ())):
            for kind, bad in BAD.items():
                url = path.format_map(named)
                given = bad[:4_000] if isinstance(bad, str) else bad  # longer ones the server refuses before us
                answer = await admin.client.get(url, params={name: given} if given is not None else {}, headers=OURS)
                wrong += judge(answer, f"GET {path}?{name} {kind}")
    assert not wrong, "\n".join(wrong)


async def test_what_is_not_a_form_is_refused_as_a_page(admin: Person) -> None:
    kinds = (("application/json", 422), ("multipart/form-data; boundary=x", 415))
    for headers, status in (({"Content-Type": kind}, status) for kind, status in kinds):
        answer = await admin.client.post("/branches", content=b'{"id": ["x"]}', headers=OURS | headers)
        assert answer.status_code == status
        assert judge(answer, "/branches") == []
    assert (await see(admin.client, "/branches")).status_code == 200


def hostile_files() -> dict[str, bytes]:
    """What somebody may send as a cover or as a catalogue, by name; none of it is either."""
    return {
        **samples.polyglots(), **samples.unknown(), "nothing": b"", "a page": b"<html><script>alert(1)</script></html>",
        "a bomb of pixels": samples.png_bomb(6_000, 6_000), "a bomb of text": samples.text_bomb(),
        "half an image": samples.image()[:300],
    }  # fmt: skip


async def test_no_file_breaks_a_page_and_what_is_refused_leaves_nothing(
    admin: Person, reader: Person, database: Database, settings: Settings
) -> None:
    book = (await build(admin, reader))["book_id"]
    cut_off = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n\x89PNG'
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    wrong: list[str] = []
    for path in (f"/covers/{book}", "/imports"):
        before = await rows(database)
        for name, content in hostile_files().items():
            sent = await admin.client.post(path, files={"file": ("cover.png", content)}, headers=OURS)
            wrong += judge(sent, f"{path} with {name}")
            if sent.status_code < 400:
                wrong.append(f"{path} with {name}: {sent.status_code}")
        for body in (b"", b"--x\r\n", b"--x--\r\n", b"--y\r\nrubbish", cut_off):
            sent = await admin.client.post(path, content=body, headers=OURS | multipart)
            wrong += judge(sent, f"{path} with {body!r}")
            assert sent.status_code >= 400, (path, body)
        assert await rows(database) == before
    assert not wrong, "\n".join(wrong)
    assert not list((settings.data_dir / "imports").glob("*"))
    kept = await admin.client.post(f"/covers/{book}", files={"file": ("cover.png", samples.image())}, headers=OURS)
    assert (kept.status_code, kept.headers["location"]) == (303, f"/books/{book}?said=saved")
    assert (await admin.client.get(f"/api/v1/books/{book}/cover")).status_code == 200
