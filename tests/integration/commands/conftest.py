"""Fixtures of the command line's tests: one with a migrated database, one with an empty one, on both databases."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.core.config import Settings
from tests import servers
from tests.conftest import SECRET, _administer
from tests.integration.commands.command_line import CommandLine


@pytest.fixture
def bare(tmp_path: Path) -> CommandLine:
    """Nothing set but the data folder, which isn't there yet."""
    return CommandLine(tmp_path, {"DATA_DIR": str(tmp_path / "data")})


@pytest.fixture
def library(settings: Settings) -> CommandLine:
    """A migrated, empty library."""
    return CommandLine.of(settings)


@pytest.fixture
def unmigrated(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CommandLine]:
    """A database without a table."""
    given = {"DATA_DIR": str(tmp_path), "SECRET_KEY": SECRET, "ENVIRONMENT": "development"}
    if backend == "sqlite":
        yield CommandLine(tmp_path, given)
        return
    url, name = request.getfixturevalue("postgres_url"), f"test_{uuid4().hex}"
    asyncio.run(_administer(url, f"CREATE DATABASE {name}"))
    yield CommandLine(tmp_path, given | {"DATABASE_URL": f"{url}/{name}"})
    asyncio.run(_administer(url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server."""
    with servers.redis() as server:
        yield f"redis://127.0.0.1:{server.port}/0"
