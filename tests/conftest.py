"""Fixtures: every integration test runs on SQLite and on PostgreSQL, on a database that the migrations built."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import hypothesis
import pytest
from fastapi import routing
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core import engines, migrations
from app.core.config import Environment, Settings
from app.core.db import Database
from app.core.middleware import Shell
from app.core.security import hash_password
from app.main import create_app
from app.users import service as users
from app.users.models import Role
from tests import servers

SECRET = "0f9d1c7e-for-tests-only-Zq8vT2mLx4RbNw6K"
PASSWORD = "correct horse battery"
# A change is judged by what it changed, not by luck: the same examples each time. Elsewhere they are new each time.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None)
# The same for runs that only ask whether something is found, not what its shortest form is.
hypothesis.settings.register_profile(
    "noticing", hypothesis.settings.get_profile("repeatable"),
    phases=[hypothesis.Phase.generate], report_multiple_bugs=False,
)  # fmt: skip
# Four workers and a database share two cores, which now and then stand still for seconds. A statement has less than the
# 9 s for which an injected one would sleep.
engines.POSTGRES_LIMITS.update({"statement_timeout": "8000", "idle_in_transaction_session_timeout": "30000"})


def _read_each_route_once() -> None:
    """An application costs a fifth of a second, nearly all for FastAPI's look at 330 signatures. They are the same for
    each application of a test run, as long as nobody overrides a dependency."""
    kind: Any = routing._EffectiveRouteContext
    read, known = kind.from_api_route, dict[tuple[int, str], tuple[Any, Any]]()

    def known_or_read(*, original_route: Any, include_context: Any) -> Any:
        key = (id(original_route), include_context.prefix)
        if key not in known:
            known[key] = original_route, read(original_route=original_route, include_context=include_context)
        return known[key][1]

    kind.from_api_route = known_or_read


_read_each_route_once()
SHARED = Path(__file__).resolve().parents[2] / "shared"

_servers = ExitStack()
_postgres_url = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """One PostgreSQL for all workers, started by whoever controls them; or one given by TEST_POSTGRES_URL."""
    if memory := servers.memory_folder():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[_postgres_url] = worker["postgres_url"]
    elif not config.option.collectonly:
        given = os.environ.get("TEST_POSTGRES_URL")
        config.stash[_postgres_url] = given or _servers.enter_context(servers.postgres()).url


def pytest_unconfigure(config: pytest.Config) -> None:
    del config
    _servers.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["postgres_url"] = node.config.stash[_postgres_url]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def shared() -> Path:
    """The folder of real records; absent on a machine that has only the repository."""
    if not SHARED.exists():
        pytest.skip("the shared folder with real records is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    return pytestconfig.stash[_postgres_url]


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """The name of a migrated database that tests copy."""
    name = f"template_{uuid4().hex}"
    asyncio.run(_administer(postgres_url, f"CREATE DATABASE {name}"))
    asyncio.run(_migrate(_settings(Path(), database_url=f"{postgres_url}/{name}")))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file that tests copy."""
    folder = tmp_path_factory.mktemp("sqlite")
    asyncio.run(_migrate(_settings(folder)))
    return folder / "library.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def new_library(request: pytest.FixtureRequest, backend: str) -> Iterator[Callable[[Path], Settings]]:
    """Gives the settings of a service with an empty, migrated database of its own, as often as it is asked."""
    url = request.getfixturevalue("postgres_url") if backend == "postgresql" else ""
    template = request.getfixturevalue("postgres_template" if url else "sqlite_template")
    made: list[str] = []

    def given(folder: Path) -> Settings:
        if not url:
            shutil.copy(template, folder / "library.db")
            return _settings(folder)
        made.append(f"test_{uuid4().hex}")
        asyncio.run(_administer(url, f"CREATE DATABASE {made[-1]} TEMPLATE {template} STRATEGY FILE_COPY"))
        return _settings(folder, database_url=f"{url}/{made[-1]}")

    yield given
    for name in made:
        asyncio.run(_administer(url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def settings(new_library: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    """Settings of a service with an empty, migrated database of its own."""
    return new_library(tmp_path)


@pytest.fixture
async def database(settings: Settings, anyio_backend: str) -> AsyncIterator[Database]:
    """A connection of the test's own, beside the service's."""
    del anyio_backend
    opened = Database(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def service(settings: Settings, anyio_backend: str) -> AsyncIterator[Shell]:
    """The whole application, shell included."""
    del anyio_backend
    shell = create_app(settings)
    yield shell
    await close(shell)


async def close(shell: Shell) -> None:
    """What the application closes when its server stops."""
    state = shell.app.state  # type: ignore[attr-defined]  # the FastAPI inside
    for opened in (state.look_out, state.mailer, state.limits, state.cache, state.database):
        await opened.close()


@pytest.fixture
async def client(service: Shell) -> AsyncIterator[httpx2.AsyncClient]:
    """Nobody in particular."""
    async with _client(service) as anonymous:
        yield anonymous


@dataclass(frozen=True)
class Person:
    """Somebody with an account, and a client that is signed in as him."""

    client: httpx2.AsyncClient
    email: str
    card_number: str


@pytest.fixture
async def reader(service: Shell, database: Database) -> AsyncIterator[Person]:
    async with sign_in_as(service, database, Role.READER) as person:
        yield person


@pytest.fixture
async def librarian(service: Shell, database: Database) -> AsyncIterator[Person]:
    async with sign_in_as(service, database, Role.LIBRARIAN, branches=("main",)) as person:
        yield person


@pytest.fixture
async def admin(service: Shell, database: Database) -> AsyncIterator[Person]:
    async with sign_in_as(service, database, Role.ADMIN) as person:
        yield person


@asynccontextmanager
async def sign_in_as(
    service: Shell, database: Database, role: Role, branches: tuple[str, ...] = (), email: str | None = None
) -> AsyncIterator[Person]:
    email = email or f"{role}@library.test"
    async with database.transaction() as session:
        user = await users.create(
            session,
            email=email,
            password_hash=await hash_password(PASSWORD),
            full_name=f"A {role}",
            role=role,
            now=datetime.now(UTC),
            branches=branches,
        )
    async with _client(service) as client:
        answer = await client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield Person(client, email, user.card_number)


def _client(service: Shell) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=service, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost")


def _settings(data_dir: Path, *, database_url: str | None = None) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=data_dir,
        database_url=SecretStr(database_url) if database_url else None,
        secret_key=SecretStr(SECRET),
        environment=Environment.DEVELOPMENT,
    )


async def _migrate(settings: Settings) -> None:
    database = Database(settings)
    await migrations.upgrade(database)
    await database.close()


async def _administer(url: str, statement: str) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://") + "/postgres")
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text(statement))
    await engine.dispose()
