"""What one may ask about one's own data: all of it, and to be erased, on the terms that the library sets."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry
from app.bookings.models import Booking, BookingStatus
from app.core.config import Settings
from app.core.db import Base, Database
from app.core.middleware import Shell
from app.core.storage import Storage
from app.erasure import service as erasure
from app.erasure.models import Erasure
from app.erasure.queries import KINDS
from app.jobs import files
from app.users.models import Role, User
from tests.conftest import PASSWORD, Person, sign_in_as

pytestmark = pytest.mark.anyio

API = "/api/v1"


async def _book(librarian: Person, *, barcode: str | None = None) -> int:
    made = (await librarian.client.post(f"{API}/books", json={"title": f"Book {barcode}"})).json()
    if barcode:
        body = {"barcode": barcode, "branch": "main"}
        assert (await librarian.client.post(f"{API}/books/{made['id']}/copies", json=body)).status_code == 201
    book_id: int = made["id"]
    return book_id


async def test_the_export_holds_every_kind_and_no_secret(reader: Person, librarian: Person) -> None:
    book = await _book(librarian, barcode="X1")
    await reader.client.post(f"{API}/bookings", json={"book_id": book, "pickup_branch": "main"})
    me = (await reader.client.get(f"{API}/auth/me")).json()
    await librarian.client.get(f"{API}/users/{me['id']}")
    await reader.client.post(f"{API}/auth/api-keys", json={"name": "script", "scopes": ["account:read"]})
    secret = (await reader.client.post(f"{API}/auth/mfa/totp")).json()
    answer = await reader.client.get(f"{API}/auth/me/export")
    told = answer.json()
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "no-store"
    assert told.keys() == {"exported_at", "account", "views", "audit", *KINDS}
    assert told["account"]["email"] == reader.email
    assert [row["title"] for row in told["bookings"]] == ["Book X1"]
    assert [(row["by"], row["data"]) for row in told["views"]] == [("A librarian", {"what": "account"})]
    assert [row["name"] for row in told["api_keys"]] == ["script"]
    assert len(told["sessions"]) == 1
    assert secret["secret"] not in answer.text
    assert "argon2" not in answer.text
    assert "digest" not in {name for row in told["sessions"] + told["api_keys"] for name in row}


async def test_a_key_can_neither_export_nor_erase(reader: Person, client: httpx2.AsyncClient) -> None:
    body = {"name": "both", "scopes": ["account:read", "account:write"]}
    key = (await reader.client.post(f"{API}/auth/api-keys", json=body)).json()["key"]
    client.headers["Authorization"] = f"Bearer {key}"
    for answer in (await client.get(f"{API}/auth/me/export"), await client.delete(f"{API}/auth/me")):
        assert (answer.status_code, answer.json()["code"]) == (403, "person_required")


async def test_erasing_asks_for_a_fresh_proof(reader: Person, database: Database) -> None:
    async with database.transaction() as session:
        user = (await session.scalars(select(User).where(User.email == reader.email))).one()
        statement = (
            KINDS["sessions"].owner.class_.__table__.update().values(verified_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
        await session.execute(statement.where(KINDS["sessions"].owner == user.id))
    refused = await reader.client.delete(f"{API}/auth/me")
    assert refused.json()["code"] == "confirmation_required"
    assert (await reader.client.post(f"{API}/auth/confirm", json={"password": PASSWORD})).status_code == 204
    assert (await reader.client.delete(f"{API}/auth/me")).status_code == 204


async def test_his_copy_goes_to_whoever_is_next(
    service: Shell, database: Database, reader: Person, librarian: Person
) -> None:
    book = await _book(librarian, barcode="X1")
    wish = {"book_id": book, "pickup_branch": "main"}
    first = (await reader.client.post(f"{API}/bookings", json=wish)).json()
    assert first["status"] == "allocated"
    async with sign_in_as(service, database, Role.READER, email="next@library.test") as following:
        second = (await following.client.post(f"{API}/bookings", json=wish)).json()
        assert second["status"] == "waiting"
        assert (await reader.client.delete(f"{API}/auth/me")).status_code == 204
        now = (await following.client.get(f"{API}/bookings/{second['id']}")).json()
        assert now["status"] == "allocated"
    async with database.reading() as session:
        gone = await session.get_one(Booking, UUID(first["id"]))
        assert (gone.status, gone.reader_id) == (BookingStatus.CANCELLED, None)


async def test_an_admin_erases_at_a_readers_wish_and_nobody_else_may(
    reader: Person, librarian: Person, admin: Person, database: Database
) -> None:
    me = (await reader.client.get(f"{API}/auth/me")).json()
    url = f"{API}/users/{me['id']}"
    assert (await librarian.client.delete(url, headers={"If-Match": "*"})).status_code == 403
    assert (await admin.client.delete(url)).status_code == 428
    assert (await admin.client.delete(url, headers={"If-Match": '"99"'})).status_code == 412
    assert (await admin.client.delete(url, headers={"If-Match": f'"{me["version"]}"'})).status_code == 204
    assert (await admin.client.get(url)).status_code == 404
    assert (await reader.client.get(f"{API}/auth/me")).status_code == 401
    async with database.reading() as session:
        statement = select(AuditEntry).where(AuditEntry.action == "account_erased")
        entry = (await session.scalars(statement)).one()
        assert (entry.actor_role, entry.subject is not None) == ("admin", True)


async def test_the_last_admin_stays(admin: Person) -> None:
    refused = await admin.client.delete(f"{API}/auth/me")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_admin")


async def test_a_pseudonym_waits_until_its_ledger_can_be_written(
    reader: Person, settings: Settings, database: Database
) -> None:
    folder = settings.data_dir / "uploads"
    folder.write_text("not a folder")
    assert (await reader.client.delete(f"{API}/auth/me")).status_code == 204
    async with database.reading() as session:
        waiting = list(await session.scalars(select(Erasure)))
    assert len(waiting) == 1
    folder.unlink()
    assert await files.hand_over_erasures(database, settings, datetime.now(UTC)) == {"handed_over": 1}
    names = [stored.name async for stored in Storage(settings).listed(erasure.FOLDER)]
    assert names == [f"erasures/{waiting[0].pseudonym}"]
    assert await files.hand_over_erasures(database, settings, datetime.now(UTC)) == {"handed_over": 0}


def test_every_column_that_leads_to_an_account_is_exported_and_erased() -> None:
    known = {(kind.owner.class_.__tablename__, kind.owner.key) for kind in KINDS.values()}
    leading: set[tuple[str, str]] = set()
    for table in Base.metadata.tables.values():
        for column in table.columns:
            foreign: Any = column.foreign_keys
            if any(key.column.table.name == "users" for key in foreign):
                leading.add((table.name, column.name))
    assert leading <= known, f"{leading - known}: enter them in app/erasure/queries.py"
