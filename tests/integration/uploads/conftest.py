"""Fixtures of uploads: the same tests with files in a folder and in a bucket."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.core.config import Settings
from app.core.storage import Storage
from tests import servers


@pytest.fixture(scope="session")
def bucket_url() -> Iterator[str]:
    with servers.s3("library") as url:
        yield url


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def backend(place: str) -> str:
    """Files in a folder with SQLite, in a bucket with PostgreSQL, as they are run."""
    return "sqlite" if place == "folder" else "postgresql"


@pytest.fixture
def settings(settings: Settings, place: str, request: pytest.FixtureRequest) -> Settings:
    if place == "folder":
        return settings.model_copy(update={"rate_limit_enabled": False})
    url = request.getfixturevalue("bucket_url").replace("/files?", f"/{uuid4().hex}?")
    return settings.model_copy(update={"rate_limit_enabled": False, "storage_url": SecretStr(url)})


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings)
