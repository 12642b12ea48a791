"""Faults: a lost database answers 503 and leaves no half-written book; the service mends itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from app.books import service as books
from app.books.models import AccessPoint, Book
from app.books.schemas import BookCreate, Contributor
from app.core.config import Environment, Settings
from app.core.db import Database
from app.core.migrations import upgrade
from app.main import create_app
from app.users.models import Role
from tests import servers
from tests.conftest import SECRET, Person, close, sign_in_as

pytestmark = pytest.mark.anyio

BOOKS = "/api/v1/books"


@asynccontextmanager
async def service_on(cluster: servers.Postgres, data_dir: Path) -> AsyncIterator[tuple[Person, Database]]:
    """An administrator of a service on a cluster that the test may kill, and a connection beside it."""
    settings = Settings(
        _env_file=None,
        data_dir=data_dir,
        database_url=SecretStr(f"{cluster.url}/postgres"),
        secret_key=SecretStr(SECRET),
        environment=Environment.DEVELOPMENT,
    )
    database = Database(settings)
    await upgrade(database)
    shell = create_app(settings)
    async with sign_in_as(shell, database, Role.ADMIN) as admin:
        yield admin, database
    await close(shell)
    await database.close()


async def is_ready(client: httpx2.AsyncClient) -> bool:
    for _ in range(100):
        if (await client.get("/health/ready")).status_code == 200:
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_killed_postgres_means_503_and_no_acknowledged_book_is_lost(tmp_path: Path) -> None:
    with servers.postgres(durable=True) as cluster:
        async with service_on(cluster, tmp_path) as (admin, database):

            async def add(number: int) -> httpx2.Response:
                body = {"title": f"Book {number}", "contributors": [{"name": f"Author {number}"}]}
                return await admin.client.post(BOOKS, json=body)

            before = [await add(number) for number in range(5)]
            under_way = [asyncio.create_task(add(number)) for number in range(5, 45)]
            await asyncio.sleep(0.05)
            await asyncio.to_thread(cluster.stop)
            answers = before + await asyncio.gather(*under_way)
            assert {answer.status_code for answer in answers} == {201, 503}
            refused = await admin.client.get(BOOKS)
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
            assert refused.headers["Retry-After"] == "1"
            assert (await admin.client.get("/health")).status_code == 200
            not_ready = await admin.client.get("/health/ready")
            assert (not_ready.status_code, not_ready.json()["errors"]) == (503, ["database_unavailable"])

            await asyncio.to_thread(cluster.start)
            assert await is_ready(admin.client), "the service comes back without a restart"
            for answer in answers:
                if answer.status_code == 201:
                    again = await admin.client.get(f"{BOOKS}/{answer.json()['id']}")
                    assert again.json() == answer.json()
            assert await _half_written(database) == 0


async def test_a_book_whose_commit_fails_is_not_there(tmp_path: Path) -> None:
    data = BookCreate(title="Dune", contributors=[Contributor(name="Herbert, Frank")])
    with servers.postgres(durable=True) as cluster:
        async with service_on(cluster, tmp_path) as (admin, database):

            async def add_and_lose_the_database() -> None:
                async with database.transaction() as session:
                    await books.add(session, data=data, now=datetime.now(UTC))
                    await asyncio.to_thread(cluster.stop)

            with pytest.raises((DBAPIError, OSError)):
                await add_and_lose_the_database()
            await asyncio.to_thread(cluster.start)
            assert await is_ready(admin.client)
            listed: dict[str, Any] = (await admin.client.get(f"{BOOKS}?q=dune")).json()
            assert listed["items"] == []
            assert await _half_written(database) == 0


async def _half_written(database: Database) -> int:
    """Books without the access point of their one author."""
    has_author = select(AccessPoint.book_id).where(AccessPoint.kind == "author")
    async with database.reading() as session:
        return await session.scalar(select(func.count()).where(Book.id.not_in(has_author))) or 0
