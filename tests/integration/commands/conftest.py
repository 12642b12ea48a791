"""Fixtures of the command line's tests: one with a migrated database, one with an empty one, on both databases."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.core.config import Settings
from tests.conftest import SECRET, _administer
from tests.integration.commands.command_line import CommandLine


@pytest.fixture
def bare(tmp_path: Path) -> CommandLine:
    """Nothing set but the data folder, which isn't there yet."""
    return CommandLine(tmp_path, {"DATA_DIR": str(tmp_path / "data")})


@pytest.fixture
def library(settings: Settings, tmp_path: Path) -> CommandLine:
    """A migrated, empty library."""
    url = settings.database_url
    return CommandLine(tmp_path, _environment(tmp_path, url.get_secret_value() if url else None))


@pytest.fixture
def unmigrated(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CommandLine]:
    """A database without a table."""
    if backend == "sqlite":
        yield CommandLine(tmp_path, _environment(tmp_path, None))
        return
    url, name = request.getfixturevalue("postgres_url"), f"test_{uuid4().hex}"
    asyncio.run(_administer(url, f"CREATE DATABASE {name}"))
    yield CommandLine(tmp_path, _environment(tmp_path, f"{url}/{name}"))
    asyncio.run(_administer(url, f"DROP DATABASE {name} WITH (FORCE)"))


def _environment(folder: Path, database_url: str | None) -> dict[str, str]:
    environment = {"DATA_DIR": str(folder), "SECRET_KEY": SECRET, "ENVIRONMENT": "development"}
    return environment | ({"DATABASE_URL": database_url} if database_url else {})
