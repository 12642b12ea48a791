"""Who may call what: every route × every identity, against a table that a new route must be entered in."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum, auto
from uuid import UUID

import httpx2
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from app.core.config import Settings
from app.core.db import Database
from app.core.middleware import Shell
from app.main import build_api
from app.users.models import Role
from tests.conftest import Person, sign_in_as
from tests.matrix import entries

pytestmark = pytest.mark.anyio

API = "/api/v1"
NOBODY = UUID("01890000-0000-7000-8000-000000000000")


class Access(Enum):
    PUBLIC = auto()  # everybody
    OWN = auto()  # whoever is signed in, or a key with a scope for its account: what he gets is his own
    PERSON = auto()  # whoever has signed in himself, no key
    OWNER_OR_STAFF = auto()  # one row: its reader and the desk; to anybody else it is not there
    STAFF = auto()  # librarians and admins
    ADMIN = auto()  # admins


MATRIX: dict[Access, str] = {
    Access.PUBLIC: """
        POST /auth/register  POST /auth/login  POST /auth/token  POST /auth/refresh  POST /auth/forgot
        POST /auth/reset  POST /auth/verify  POST /auth/mfa/login  POST /auth/passkeys/options
        POST /auth/passkeys/login
        GET /books  GET /books/availability  GET /books/availability/stream  GET /books/facets
        GET /books/suggest  GET /books/{book_id}
        GET /books/{book_id}/availability  GET /books/{book_id}/copies  GET /books/{book_id}/cover
        GET /branches  GET /branches/{branch_id}  GET /branches/{branch_id}/calendar
        GET /policies  GET /policies/{policy_id}
    """,
    Access.OWN: """
        GET /auth/me  PATCH /auth/me  GET /auth/me/charges  GET /auth/me/bookings  GET /auth/me/loans
        GET /auth/me/views  POST /bookings  POST /policies/explain  GET /uploads  POST /uploads
    """,
    Access.PERSON: """
        POST /auth/logout  POST /auth/confirm  POST /auth/password  POST /auth/email  POST /auth/verify/mail
        GET /auth/sessions  DELETE /auth/sessions  DELETE /auth/sessions/{session_id}
        POST /auth/api-keys  GET /auth/api-keys  DELETE /auth/api-keys/{key_id}
        GET /auth/mfa  POST /auth/mfa/totp  POST /auth/mfa/totp/confirm  DELETE /auth/mfa/totp
        POST /auth/mfa/recovery-codes  POST /auth/mfa/passkeys/options  POST /auth/mfa/passkeys
        DELETE /auth/mfa/passkeys/{passkey_id}  GET /auth/me/export  DELETE /auth/me
    """,
    Access.OWNER_OR_STAFF: """
        GET /users/{user_id}  GET /bookings/{booking_id}  GET /loans/{loan_id}
        POST /bookings/{booking_id}/cancel  POST /bookings/{booking_id}/suspend  POST /bookings/{booking_id}/resume
        POST /loans/{loan_id}/renew  POST /loans/{loan_id}/claim-returned
        GET /uploads/{upload_id}  GET /uploads/{upload_id}/content  DELETE /uploads/{upload_id}
    """,
    Access.STAFF: """
        POST /books  PUT /books/{book_id}  PATCH /books/{book_id}  DELETE /books/{book_id}
        POST /books/{book_id}/copies  POST /books/{book_id}/merge  POST /books/{book_id}/restore
        GET /copies  GET /copies/{copy_id}  PATCH /copies/{copy_id}  DELETE /copies/{copy_id}
        POST /copies/{copy_id}/restore  POST /copies/{copy_id}/status
        GET /bookings  GET /desk/hold-shelf  GET /desk/pull-list  POST /desk/undo
        POST /loans  POST /loans/{loan_id}/lost  POST /returns
        POST /policies  PATCH /policies/{policy_id}  DELETE /policies/{policy_id}
        PUT /branches/{branch_id}/calendar
        GET /users  POST /users  PATCH /users/{user_id}
        GET /users/{user_id}/bookings  GET /users/{user_id}/loans  POST /bookings/batch
        GET /events  POST /books/import  GET /books/export  GET /imports/{import_id}  GET /imports/{import_id}/records
        GET /users/{user_id}/charges  POST /users/{user_id}/payments  POST /users/{user_id}/refunds
        POST /users/{user_id}/waivers
    """,
    Access.ADMIN: """
        POST /branches  PATCH /branches/{branch_id}  DELETE /branches/{branch_id}  GET /audit
        DELETE /users/{user_id}
    """,
}


def declared() -> dict[tuple[str, str], Access]:
    return entries(MATRIX)


@dataclass
class Cast:
    """Everybody who asks, and what belongs to the reader."""

    clients: dict[str, httpx2.AsyncClient]
    ids: dict[str, str]
    missing: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(("user_id", "booking_id", "loan_id", "upload_id"), str(NOBODY))
    )


# What a role gets; whoever is not named gets in.
EXPECTED: dict[Access, dict[str, str]] = {
    Access.OWN: {},
    Access.PERSON: {},
    Access.OWNER_OR_STAFF: {"other_reader": "404"},
    Access.STAFF: {"reader": "403", "other_reader": "403", "elsewhere": "in or another branch"},
    Access.ADMIN: {"reader": "403", "other_reader": "403", "librarian": "403", "elsewhere": "403"},
}
# Terms for all branches are an admin's; a librarian asks for those of his own.
BODIES: dict[tuple[str, str], dict[str, object]] = {
    ("POST", "/policies"): {"item_type": "book", "branch": "main", "loan_days": 7}
}
STAFF = ("librarian", "elsewhere", "admin")
KEYS = ("reader_key", "librarian_key")
NOT_SIGNED_IN = ("anonymous", "expired", "forged")


@pytest.fixture
async def cast(service: Shell, database: Database) -> AsyncIterator[Cast]:
    async with AsyncExitStack() as stack:
        people: dict[str, Person] = {}
        for name, role, branches in (
            ("admin", Role.ADMIN, ()),
            ("reader", Role.READER, ()),
            ("other_reader", Role.READER, ()),
            ("expired", Role.READER, ()),
            ("librarian", Role.LIBRARIAN, ("main",)),
        ):
            person = sign_in_as(service, database, role, branches, email=f"{name}@library.test")
            people[name] = await stack.enter_async_context(person)
        branch = {"id": "east", "name": "East", "timezone": "UTC"}
        assert (await people["admin"].client.post(f"{API}/branches", json=branch)).status_code == 201
        elsewhere = sign_in_as(service, database, Role.LIBRARIAN, ("east",), email="elsewhere@library.test")
        people["elsewhere"] = await stack.enter_async_context(elsewhere)
        clients = {name: person.client for name, person in people.items()}
        for name, token in (
            ("anonymous", None),
            ("forged", "eyJhbGciOiJub25lIn0.e30."),
            ("reader_key", await _key(people["reader"], "account:read")),
            ("librarian_key", await _key(people["librarian"], "policies:edit")),
        ):
            transport = httpx2.ASGITransport(app=service, raise_app_exceptions=False)
            client = await stack.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url="http://localhost")
            )
            if token:
                client.headers["Authorization"] = f"Bearer {token}"
            clients[name] = client
        assert (await clients["expired"].post(f"{API}/auth/logout")).status_code == 204
        yield Cast(clients, await _belongings(people))


async def _key(person: Person, scope: str) -> str:
    answer = await person.client.post(f"{API}/auth/api-keys", json={"name": "narrow", "scopes": [scope]})
    key: str = answer.json()["key"]
    return key


async def _belongings(people: dict[str, Person]) -> dict[str, str]:
    """A loan and a booking of the reader's, and what they hang on."""
    staff, reader = people["librarian"].client, people["reader"]
    lent, booked = [
        (await staff.post(f"{API}/books", json={"title": title, "languages": ["eng"]})).json()["id"]
        for title in ("Lent", "Booked")
    ]
    copy = await staff.post(f"{API}/books/{lent}/copies", json={"barcode": "B1", "branch": "main"})
    await staff.post(f"{API}/books/{booked}/copies", json={"barcode": "B2", "branch": "main"})
    loan = await staff.post(
        f"{API}/loans", json={"copy_barcode": "B1", "card_number": reader.card_number, "branch": "main"}
    )
    assert loan.status_code == 201, loan.text
    booking = await reader.client.post(f"{API}/bookings", json={"book_id": booked, "pickup_branch": "main"})
    assert booking.status_code == 201, booking.text
    # Whoever has something on loan can't be erased, so that all of the cast stay to the end.
    for number, person in enumerate(people.values()):
        await staff.post(f"{API}/books/{lent}/copies", json={"barcode": f"L{number}", "branch": "main"})
        body = {"copy_barcode": f"L{number}", "card_number": person.card_number, "branch": "main"}
        await staff.post(f"{API}/loans", json=body)
    upload = await reader.client.post(f"{API}/uploads?kind=document", content=b"%PDF-1.4\n%%EOF\n")
    assert upload.status_code == 201, upload.text
    policy = await people["admin"].client.post(
        f"{API}/policies", json={"category": "adult", "branch": "main", "loan_days": 14}
    )
    return {
        "book_id": str(booked),
        "copy_id": str(copy.json()["id"]),
        "loan_id": loan.json()["id"],
        "booking_id": booking.json()["id"],
        "user_id": (await reader.client.get(f"{API}/auth/me")).json()["id"],
        "branch_id": "main",
        "policy_id": str(policy.json().get("id", 1)),
        "session_id": str(NOBODY),
        "key_id": str(NOBODY),
        "passkey_id": str(NOBODY),
        "import_id": str(NOBODY),
        "upload_id": upload.json()["id"],
    }


def routes() -> set[tuple[str, str]]:
    api = build_api(Settings(_env_file=None))
    found: set[tuple[str, str]] = set()
    for context in iter_route_contexts(api.routes):
        path = context.path or ""
        if isinstance(context.original_route, APIRoute) and path.startswith(f"{API}/"):
            found |= {(method, path.removeprefix(API)) for method in context.methods or ()}
    return found


def test_every_route_stands_in_the_matrix_and_every_entry_is_a_route() -> None:
    assert routes() - declared().keys() == set(), "enter new routes in MATRIX: who may call them?"
    assert declared().keys() - routes() == set(), "these are no routes any more"


async def test_every_route_lets_in_whom_the_matrix_says_and_nobody_else(cast: Cast) -> None:
    wrong: list[str] = []
    asked = 0
    # Deleting comes late and signing out last: they end what the others need.
    ordered = sorted(
        declared().items(), key=lambda item: (item[0][1] == "/auth/logout", item[0][0] == "DELETE", item[0][1])
    )
    for (method, path), access in ordered:
        for name in (*NOT_SIGNED_IN, *KEYS, "other_reader", *STAFF, "reader"):
            expected = expectation(access, name, method, path)
            if expected is None:
                continue
            answer = await ask(cast, name, method, path)
            asked += 1
            if not fits(answer, expected):
                wrong.append(f"{method} {path} as {name}: {answer.status_code} {answer.text[:120]}, not {expected}")
            elif expected == "404" and told(answer) != told(await ask(cast, name, method, path, is_missing=True)):
                wrong.append(f"{method} {path} as {name}: tells what is not his from what is not there")
    assert not wrong, "\n".join(wrong)
    assert asked > 700


async def ask(cast: Cast, name: str, method: str, path: str, *, is_missing: bool = False) -> httpx2.Response:
    """One request, with a body that nobody's rights depend on."""
    url = API + path.format_map(cast.ids | (cast.missing if is_missing else {}))
    body = None if method == "GET" else BODIES.get((method, path), {})
    return await cast.clients[name].request(method, url, json=body)


def expectation(access: Access, name: str, method: str, path: str) -> str | None:
    """What an identity must get: `401`, `403`, `404`, `in` (whatever else comes of it), or None (not judged)."""
    if access is Access.PUBLIC:
        return "in" if name == "anonymous" else None
    if name in NOT_SIGNED_IN:
        return "401"
    if name in KEYS:
        return "in" if _key_reaches(access, name, method, path) else "403"
    return EXPECTED[access].get(name, "in")


def _key_reaches(access: Access, name: str, method: str, path: str) -> bool:
    if name == "librarian_key":
        return access is Access.STAFF and path.startswith("/policies")
    return method == "GET" and access in {Access.OWN, Access.OWNER_OR_STAFF}


def fits(answer: httpx2.Response, expected: str) -> bool:
    if answer.status_code >= 500:
        return False
    if expected == "in or another branch" and answer.status_code == 403:
        return bool(answer.json()["code"] == "not_your_branch")
    if expected.startswith("in"):
        return answer.status_code not in {401, 403}
    return answer.status_code == int(expected)


def told(answer: httpx2.Response) -> tuple[int, object, list[str]]:
    """All that a client learns from an answer, without what differs each time."""
    return answer.status_code, answer.json() | {"request_id": ""}, sorted(answer.headers)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/copies/{copy_id}", {"note": "mine now"}),
        ("DELETE", "/copies/{copy_id}", None),
        ("POST", "/copies/{copy_id}/status", {"status": "in_repair", "reason": "torn"}),
        ("POST", "/books/{book_id}/copies", {"barcode": "NEW", "branch": "main"}),
        ("POST", "/policies", {"item_type": "book", "branch": "main", "loan_days": 1}),
        ("PATCH", "/policies/{policy_id}", {"loan_days": 99}),
        ("DELETE", "/policies/{policy_id}", None),
    ],
)
async def test_a_librarian_changes_nothing_of_another_branch(
    cast: Cast, method: str, path: str, body: dict[str, object] | None
) -> None:
    url = API + path.format_map(cast.ids)
    foreign = await cast.clients["elsewhere"].request(method, url, json=body, headers={"If-Match": "*"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "not_your_branch")
