"""Accounts over HTTP as the desk and the admins keep them."""

from datetime import UTC, datetime

import httpx2
import pytest
from sqlalchemy import select, update

from app.audit.models import AuditEntry
from app.core.db import Database
from app.core.middleware import Shell
from app.users.models import Role, User
from tests.conftest import PASSWORD, Person, sign_in_as
from tests.integration.auth.conftest import PostBox, sign_in

pytestmark = pytest.mark.anyio

USERS = "/api/v1/users"
ANY = {"If-Match": "*"}


async def _id(person: Person) -> str:
    user_id: str = (await person.client.get("/api/v1/auth/me")).json()["id"]
    return user_id


async def test_the_desk_makes_an_account_whose_owner_chooses_the_password(
    librarian: Person, client: httpx2.AsyncClient, post_box: PostBox
) -> None:
    body = {"email": "Anna@library.test", "full_name": "Анна Ёлкина", "card_number": "LIB-0042", "locale": "ru"}
    made = await librarian.client.post(USERS, json=body)
    assert made.status_code == 201, made.text
    user = made.json()
    assert (user["email"], user["card_number"], user["role"]) == ("anna@library.test", "LIB-0042", "reader")
    assert made.headers["Location"] == f"users/{user['id']}"
    token = await post_box.token("anna@library.test", "Новый пароль")
    reset = await client.post("/api/v1/auth/reset", json={"token": token, "password": "seven quiet otters"})
    assert reset.status_code == 204
    assert (await sign_in(client, "anna@library.test", "seven quiet otters")).status_code == 200
    taken = await librarian.client.post(USERS, json=body | {"email": "b@library.test"})
    assert (taken.status_code, taken.json()["code"]) == (409, "card_number_taken")
    taken = await librarian.client.post(USERS, json=body | {"card_number": "LIB-0043"})
    assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")


@pytest.mark.parametrize("question", ["q=ел", "q=анна ЁЛ", "q=anna@library.test", "card_number=LIB-0042"])
async def test_the_desk_finds_a_reader_by_name_address_and_card(librarian: Person, question: str) -> None:
    for email, name, card in (
        ("anna@library.test", "Анна Ёлкина", "LIB-0042"),
        ("noise@library.test", "Somebody 100% else_", "LIB-9999"),
    ):
        body = {"email": email, "full_name": name, "card_number": card}
        assert (await librarian.client.post(USERS, json=body)).status_code == 201
    found = (await librarian.client.get(f"{USERS}?{question}")).json()["items"]
    assert [user["email"] for user in found] == ["anna@library.test"]
    for wildcard in ("%", "_", "%25"):
        assert (await librarian.client.get(f"{USERS}", params={"q": wildcard})).json()["items"] == []


async def test_pages_follow_each_other_without_gap_or_twin(admin: Person, librarian: Person, reader: Person) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await admin.client.get(USERS, params={"limit": 1} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [user["email"] for user in page["items"]]
        cursor = page["next"]
    assert seen == [admin.email, librarian.email, reader.email]
    forged = await admin.client.get(USERS, params={"cursor": "WyJ4IixudWxsLCJ4Il0"})
    assert (forged.status_code, forged.json()["code"]) == (400, "stale_cursor")


async def test_a_reader_sees_himself_and_nobody_else(
    reader: Person, other_reader: Person, librarian: Person, admin: Person
) -> None:
    own = await reader.client.get(f"{USERS}/{await _id(reader)}")
    assert (own.status_code, own.json()["email"]) == (200, reader.email)
    missing = await reader.client.get(f"{USERS}/01890000-0000-7000-8000-000000000000")
    for person in (other_reader, librarian, admin):
        foreign = await reader.client.get(f"{USERS}/{await _id(person)}")
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
    assert (await reader.client.get(USERS)).status_code == 403
    # Librarians see readers and themselves; admins everybody.
    assert (await librarian.client.get(f"{USERS}/{await _id(admin)}")).status_code == 404
    listed = (await librarian.client.get(USERS)).json()["items"]
    assert {user["email"] for user in listed} == {reader.email, other_reader.email, librarian.email}
    assert (await admin.client.get(f"{USERS}/{await _id(librarian)}")).status_code == 200


async def test_whoever_looks_at_a_reader_is_written_down(librarian: Person, reader: Person, database: Database) -> None:
    reader_id = await _id(reader)
    await librarian.client.get(f"{USERS}/{reader_id}")
    await reader.client.get(f"{USERS}/{reader_id}")
    async with database.reading() as session:
        names = {user.pseudonym: user.email for user in await session.scalars(select(User))}
        views = [row for row in await session.scalars(select(AuditEntry)) if row.action == "view"]
    assert [(names[row.actor or row.id], names[row.subject or row.id], row.data) for row in views] == [
        (librarian.email, reader.email, {"what": "account"})
    ]


@pytest.mark.parametrize("change", [{"role": "admin"}, {"role": "reader"}, {"disabled": True}, {"branches": ["main"]}])
async def test_only_an_admin_gives_roles_and_disables(
    librarian: Person, reader: Person, change: dict[str, object]
) -> None:
    for person in (reader, librarian):
        answer = await librarian.client.patch(f"{USERS}/{await _id(person)}", json=change, headers=ANY)
        assert (answer.status_code, answer.json()["code"]) == (403, "admins_only")
    made = await librarian.client.post(USERS, json={"email": "x@library.test", "full_name": "X", "role": "admin"})
    assert (made.status_code, made.json()["code"]) == (403, "admins_only")
    assert (await librarian.client.get("/api/v1/auth/me")).json()["role"] == "librarian"


async def test_a_librarian_cannot_take_over_the_account_of_staff(
    librarian: Person, admin: Person, service: Shell, database: Database
) -> None:
    async with sign_in_as(service, database, Role.LIBRARIAN, email="second@library.test") as second:
        for person, status in ((admin, 404), (second, 404)):
            answer = await librarian.client.patch(
                f"{USERS}/{await _id(person)}", json={"email": "mine@library.test"}, headers=ANY
            )
            assert answer.status_code == status
        own = await librarian.client.patch(f"{USERS}/{await _id(librarian)}", json={"expires_on": None}, headers=ANY)
        assert own.json()["code"] == "admins_only"


@pytest.mark.parametrize(
    "field", ["id", "version", "password_hash", "pseudonym", "created_at", "disabled_at", "is_admin", "keeps_history"]
)
async def test_mass_assignment_is_impossible(admin: Person, reader: Person, field: str) -> None:
    user_id = await _id(reader)
    for client, path in ((admin.client, f"{USERS}/{user_id}"), (reader.client, "/api/v1/auth/me")):
        if field == "keeps_history" and client is reader.client:
            continue
        answer = await client.patch(path, json={field: True}, headers=ANY)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "extra_forbidden"), path
    for own in ({"role": "admin"}, {"category": "staff"}, {"card_number": "1"}, {"blocked_reason": None}):
        assert (await reader.client.patch("/api/v1/auth/me", json=own)).status_code == 422


async def test_the_desk_changes_a_reader_and_a_lost_update_is_refused(
    librarian: Person, reader: Person, post_box: PostBox
) -> None:
    path = f"{USERS}/{await _id(reader)}"
    unnamed = await librarian.client.patch(path, json={"category": "child"})
    assert (unnamed.status_code, unnamed.json()["code"]) == (428, "if_match_required")
    changed = await librarian.client.patch(
        path,
        json={"category": "child", "blocked_reason": "card lost", "expires_on": "2030-01-31"},
        headers={"If-Match": '"1"'},
    )
    assert changed.status_code == 200, changed.text
    assert changed.headers["ETag"] == '"2"'
    assert (changed.json()["category"], changed.json()["expires_on"]) == ("child", "2030-01-31")
    late = await librarian.client.patch(path, json={"category": "adult"}, headers={"If-Match": '"1"'})
    assert (late.status_code, late.json()["current"]["category"]) == (412, "child")
    moved = await librarian.client.patch(path, json={"email": "elsewhere@library.test"}, headers=ANY)
    assert (moved.json()["email"], moved.json()["email_verified"]) == ("elsewhere@library.test", False)
    await post_box.letter(reader.email, "Your address is being changed")


async def test_a_disabled_account_is_signed_out_at_once(
    admin: Person, reader: Person, client: httpx2.AsyncClient, database: Database
) -> None:
    path = f"{USERS}/{await _id(reader)}"
    disabled = await admin.client.patch(path, json={"disabled": True}, headers=ANY)
    assert disabled.json()["disabled"] is True
    assert (await reader.client.get("/api/v1/auth/me")).status_code == 401
    assert (await sign_in(client, reader.email, PASSWORD)).status_code == 401
    assert (await admin.client.patch(path, json={"disabled": False}, headers=ANY)).json()["disabled"] is False
    assert (await reader.client.get("/api/v1/auth/me")).status_code == 401, "the old sessions stay ended"
    again = await sign_in(client, reader.email, PASSWORD)
    assert again.status_code == 200
    # However it came to be disabled, a session that is still there opens nothing.
    async with database.transaction() as session:
        await session.execute(update(User).where(User.email == reader.email).values(disabled_at=datetime.now(UTC)))
    reader.client.headers["Authorization"] = f"Bearer {again.json()['access_token']}"
    assert (await reader.client.get("/api/v1/auth/me")).status_code == 401


async def test_the_last_admin_stays(admin: Person, service: Shell, database: Database) -> None:
    path = f"{USERS}/{await _id(admin)}"
    for change in ({"role": "reader"}, {"disabled": True}):
        answer = await admin.client.patch(path, json=change, headers=ANY)
        assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
    async with sign_in_as(service, database, Role.ADMIN, email="second@library.test"):
        assert (await admin.client.patch(path, json={"role": "reader"}, headers=ANY)).status_code == 200


async def test_an_admin_moves_a_librarian_between_branches(admin: Person, librarian: Person) -> None:
    branch = {"id": "east", "name": "East", "timezone": "Europe/Berlin"}
    assert (await admin.client.post("/api/v1/branches", json=branch)).status_code == 201
    path = f"{USERS}/{await _id(librarian)}"
    moved = await admin.client.patch(path, json={"branches": ["east", "east"]}, headers=ANY)
    assert (moved.status_code, moved.json()["branches"], moved.json()["version"]) == (200, ["east"], 2)
    unknown = await admin.client.patch(path, json={"branches": ["nowhere"]}, headers=ANY)
    assert unknown.json()["code"] == "unknown_branch"
