"""The trail of who saw whose record is complete: every address that tells of one named reader writes a look down."""

from uuid import UUID

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import func, select

from app.audit.models import AuditEntry
from app.core.config import Settings
from app.core.db import Database
from app.main import build_api
from app.users.models import User
from tests.conftest import Person

pytestmark = pytest.mark.anyio

API = "/api/v1"
NAMING = {"reader_id", "card_number", "user_id"}
# Reviewed: they name a reader to act for him, and tell nothing of him.
ACTING = {"/bookings", "/bookings/batch", "/loans"}


def naming() -> set[tuple[str, str]]:
    """Every reading address that takes a reader's id or card, in its path or query."""
    found: set[tuple[str, str]] = set()
    for context in iter_route_contexts(build_api(Settings(_env_file=None)).routes):
        route = context.original_route
        path = context.path or ""
        if isinstance(route, APIRoute) and path.startswith(API) and "GET" in (context.methods or ()):
            dependant = context.dependant
            for parameter in (*dependant.path_params, *dependant.query_params):
                if parameter.name in NAMING:
                    found.add((path.removeprefix(API), parameter.name))
    return found


async def test_every_look_at_a_named_reader_is_written_down(
    reader: Person, librarian: Person, database: Database
) -> None:
    me = (await reader.client.get(f"{API}/auth/me")).json()
    document = (await reader.client.post(f"{API}/uploads?kind=document", content=b"%PDF-1.4\n%%EOF\n")).json()
    values = {"reader_id": me["id"], "card_number": me["card_number"], "user_id": me["id"]}
    asked = naming()
    assert len(asked) >= 6
    urls = [(path.format_map(values), {} if f"{{{name}}}" in path else {name: values[name]}) for path, name in asked]
    urls += [
        (f"/uploads/{document['id']}", {}),
        (f"/uploads/{document['id']}/content", {}),
        ("/users", {"q": reader.email}),
    ]
    for number, (path, query) in enumerate(urls, 1):
        answer = await librarian.client.get(API + path, params=query)
        assert answer.status_code == 200, (path, answer.text)
        assert await _views(database, me["id"]) == number, f"{path} {query} tells of a reader and writes no look down"
    body = {"card_number": me["card_number"], "item_type": "book", "branch": "main"}
    assert (await librarian.client.post(f"{API}/policies/explain", json=body)).status_code == 200
    assert await _views(database, me["id"]) == len(urls) + 1


async def test_looking_at_oneself_is_no_look(reader: Person, database: Database) -> None:
    me = (await reader.client.get(f"{API}/auth/me")).json()
    assert (await reader.client.get(f"{API}/users/{me['id']}")).status_code == 200
    assert await _views(database, me["id"]) == 0


async def _views(database: Database, user_id: str) -> int:
    async with database.reading() as session:
        pseudonym = await session.scalar(select(User.pseudonym).where(User.id == UUID(user_id)))
        statement = select(func.count()).where(AuditEntry.subject == pseudonym, AuditEntry.action == "view")
        return await session.scalar(statement) or 0
