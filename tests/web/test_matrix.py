"""Who may open which page and send which form: every one × every identity; and nobody reaches another's things."""

import re
from enum import Enum, auto
from typing import Any, Final

import httpx2
import pytest

from app.core.config import Settings
from app.core.db import Database
from tests.integration.security.test_matrix import Cast
from tests.matrix import entries
from tests.web.forms import FORMS
from tests.web.test_bad_input import NOBODY, routes, rows
from tests.web.test_edge import OURS

pytestmark = pytest.mark.anyio


class Access(Enum):
    PUBLIC = auto()  # everybody
    SIGNED_IN = auto()  # whoever is signed in: what he sees is his own
    STAFF = auto()  # librarians and admins
    ADMIN = auto()  # admins


MATRIX: Final[dict[Access, str]] = {
    Access.PUBLIC: """
        GET /  GET /books/{book_id}  GET /books/{book_id}/status  GET /suggest  GET /account
        GET /login  GET /register  GET /forgot  GET /reset  GET /verify  GET /calendar/{key}.ics
        POST /login  POST /login/code  POST /login/passkey  POST /login/passkey/options  POST /register
        POST /forgot  POST /reset  POST /verify  POST /language  POST /light  POST /logout
    """,
    Access.SIGNED_IN: """
        GET /me  GET /me/profile  GET /me/charges  GET /me/history  GET /me/views  GET /me/security  GET /me/data
        GET /me/data.json  GET /confirm
        POST /books/{book_id}/bookings  POST /confirm  POST /me/profile  POST /me/calendar  POST /me/erase
        POST /me/loans/renew  POST /me/loans/{loan_id}/renew  POST /me/loans/{loan_id}/claim
        POST /me/bookings/{booking_id}/cancel  POST /me/bookings/{booking_id}/suspend
        POST /me/bookings/{booking_id}/resume  POST /me/security/password
        POST /me/security/sessions/end  POST /me/security/sessions/{session_id}/end
        POST /me/security/keys/{key_id}/revoke  POST /me/security/recovery-codes
        POST /me/security/totp  POST /me/security/totp/confirm  POST /me/security/totp/remove
        POST /me/security/passkeys  POST /me/security/passkeys/options
        POST /me/security/passkeys/{passkey_id}/remove
    """,
    Access.STAFF: """
        GET /desk  GET /desk/slip  GET /hold-shelf  GET /pull-list  GET /readers  GET /readers/new
        GET /readers/{user_id}  GET /cataloguing  GET /cataloguing/new  GET /cataloguing/duplicates
        GET /cataloguing/{book_id}  GET /cataloguing/{book_id}/copies  GET /cataloguing/{book_id}/merge
        GET /copies/{copy_id}  GET /labels  GET /imports  GET /imports/{import_id}  GET /catalogue.{kind}
        GET /administration  GET /policies  GET /policies/new  GET /policies/{policy_id}  GET /branches
        GET /branches/{branch_id}  GET /statistics  GET /statistics/{name}.csv
        POST /desk/branch  POST /desk/scans  POST /desk/undo  POST /pull-list  POST /pull-list/{copy_id}/missing
        POST /cataloguing/new  POST /cataloguing/{book_id}  POST /cataloguing/{book_id}/delete
        POST /cataloguing/{book_id}/merge  POST /cataloguing/{book_id}/copies  POST /covers/{book_id}
        POST /copies/{copy_id}  POST /copies/{copy_id}/status  POST /copies/{copy_id}/delete
        POST /imports  POST /readers/new  POST /readers/{user_id}  POST /readers/{user_id}/payments
        POST /readers/{user_id}/refunds  POST /readers/{user_id}/waivers
        POST /policies/new  POST /policies/{policy_id}  POST /policies/{policy_id}/delete
        POST /branches/{branch_id}/calendar
    """,
    Access.ADMIN: """
        GET /audit  POST /branches  POST /branches/{branch_id}  POST /branches/{branch_id}/close
    """,
}
REFUSED: Final = {
    Access.PUBLIC: (),
    Access.SIGNED_IN: ("anonymous", "expired", "forged"),
    Access.STAFF: ("anonymous", "expired", "forged", "reader", "other_reader", "reader_key", "librarian_key"),
    Access.ADMIN: ("anonymous", "expired", "forged", "reader", "librarian", "elsewhere", "reader_key"),
}
# What of one branch another branch's librarian can't change, whatever page it stands on.
OF_A_BRANCH: Final = (
    "/copies/{copy_id}", "/copies/{copy_id}/status", "/copies/{copy_id}/delete", "/cataloguing/{book_id}/copies",
    "/policies/{policy_id}", "/policies/{policy_id}/delete", "/branches/{branch_id}/calendar",
)  # fmt: skip
# Forms of a reader's own things that name them in their address, and forms that act on all of them.
OWN: Final = (
    "/me/loans/{loan_id}/renew", "/me/loans/{loan_id}/claim", "/me/bookings/{booking_id}/cancel",
    "/me/bookings/{booking_id}/suspend", "/me/bookings/{booking_id}/resume",
    "/me/security/sessions/{session_id}/end", "/me/security/keys/{key_id}/revoke",
    "/me/security/passkeys/{passkey_id}/remove",
)  # fmt: skip
# Pages that need to be told of what.
ABOUT: Final = {"/desk/slip": "?card={card}", "/labels": "?book={book_id}"}
# What a key with the right to edit policies opens.
OF_POLICIES: Final = ("/policies", "/administration")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit_enabled": False})


def declared() -> dict[tuple[str, str], Access]:
    return entries(MATRIX)


def test_every_page_stands_in_the_matrix_and_every_entry_is_a_page() -> None:
    there = {(method, path) for method in ("GET", "POST") for path in routes(method)}
    assert there - declared().keys() == set(), "enter new pages in MATRIX: who may see them?"
    assert declared().keys() - there == set(), "these are no pages any more"


async def send(cast: Cast, name: str, method: str, path: str, **ids: str) -> httpx2.Response:
    card = (await cast.clients["reader"].get("/api/v1/auth/me")).json()["card_number"]
    named = {**cast.ids, "other_book": "2", "card": card, "key": "lib_x", "kind": "csv", "name": "loans", **ids}
    url = (path + ABOUT.get(path, "")).format_map(named)
    if method == "GET":
        return await cast.clients[name].get(url, headers=OURS)
    form = {field: value.format_map(named) for field, value in FORMS[path].items()}
    return await cast.clients[name].post(url, data=form, headers=OURS)


async def test_nobody_sees_a_page_or_sends_a_form_that_is_not_for_him(cast: Cast, database: Database) -> None:
    before, wrong, asked = await rows(database), [], 0
    for (method, path), access in declared().items():
        for name in REFUSED[access]:
            if name == "librarian_key" and path.startswith(OF_POLICIES):
                continue
            answer = await send(cast, name, method, path)
            asked += 1
            signed_out = name in {"anonymous", "expired", "forged"}
            if answer.status_code != (401 if signed_out else 403) and not leads_to_sign_in(answer, method):
                wrong.append(f"{method} {path} as {name}: {answer.status_code}")
            if told_of_reader(answer):
                wrong.append(f"{method} {path} as {name}: tells of the reader")
    assert not wrong, "\n".join(wrong)
    assert await rows(database) == before
    assert asked > 400


async def test_whoever_may_see_a_page_sees_it(cast: Cast) -> None:
    wrong = []
    for (method, path), access in declared().items():
        for name in {"anonymous", "reader", "librarian", "elsewhere", "admin"} - {*REFUSED[access]}:
            if method == "GET":
                answer = await send(cast, name, method, path)
                is_there = answer.status_code < 400 or "{key}" in path or "{import_id}" in path
                if not is_there or (leads_to_sign_in(answer, method) and path != "/account"):
                    wrong.append(f"{path} as {name}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)


async def test_a_form_with_anothers_id_does_what_one_with_nobodys_does(cast: Cast, database: Database) -> None:
    session = (await cast.clients["reader"].get("/api/v1/auth/sessions")).json()["items"][0]["id"]
    key = (await cast.clients["reader"].get("/api/v1/auth/api-keys")).json()["items"][0]["id"]
    before = await rows(database)
    for path in OWN:
        for name in ("other_reader", "librarian", "admin"):
            foreign = await send(cast, name, "POST", path, session_id=session, key_id=key)
            ids = dict.fromkeys(("loan_id", "booking_id", "session_id", "key_id", "passkey_id"), NOBODY)
            missing = await send(cast, name, "POST", path, **ids)
            assert foreign.status_code == missing.status_code, (path, name)
            assert seen(foreign) == seen(missing), (path, name)
            assert not told_of_reader(foreign), (path, name)
    assert await rows(database) == before
    kept = (await cast.clients["reader"].get("/api/v1/auth/sessions")).json()["items"]
    assert session in {item["id"] for item in kept}
    assert key in {item["id"] for item in (await cast.clients["reader"].get("/api/v1/auth/api-keys")).json()["items"]}


async def test_another_branchs_librarian_changes_nothing_by_forms(cast: Cast, database: Database) -> None:
    before = await rows(database)
    for path in OF_A_BRANCH:
        answer = await send(cast, "elsewhere", "POST", path)
        assert answer.status_code == 403, (path, answer.status_code)
    assert await rows(database) == before


def leads_to_sign_in(answer: httpx2.Response, method: str) -> bool:
    to = answer.headers.get("location", "")
    return method == "GET" and answer.status_code == 303 and to.startswith("/login")


def told_of_reader(answer: httpx2.Response) -> bool:
    return "reader@library.test" in answer.text.replace("other_reader@", "")


def seen(answer: httpx2.Response) -> Any:
    """What a page says, without addresses and keys, which differ each time."""
    return answer.headers.get("location", ""), re.sub(
        r'(value|action|href|content)="[^"]*"|[0-9a-f-]{32,36}', "", answer.text
    )
