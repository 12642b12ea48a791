"""Fixtures of signing in: the service of these tests sends its mail to a server that keeps it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from app.core.config import Settings
from app.core.db import Database
from app.core.middleware import Shell
from app.users.models import Role
from tests.conftest import Person, sign_in_as
from tests.smtp import Mailbox, smtp_server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server() as box:
        yield box


@pytest.fixture
def settings(settings: Settings, mailbox: Mailbox) -> Settings:
    return settings.model_copy(update={"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_tls": "none"})


@pytest.fixture
async def other_reader(service: Shell, database: Database) -> AsyncIterator[Person]:
    async with sign_in_as(service, database, Role.READER, email="other@library.test") as person:
        yield person


@pytest.fixture
def post_box(mailbox: Mailbox) -> "PostBox":
    return PostBox(mailbox)


class PostBox:
    """Reads letters without stopping the loop in which the service sends them."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def token(self, to: str, subject: str) -> str:
        """The token in the newest letter with this subject."""
        letter = await asyncio.to_thread(self._mailbox.wait_for, to, subject)
        found = re.search(r"#token=(\S+)", letter.get_content())
        assert found, letter.get_content()
        return found.group(1)

    async def letter(self, to: str, subject: str) -> str:
        found = await asyncio.to_thread(self._mailbox.wait_for, to, subject)
        text: str = found.get_content()
        return text

    def subjects(self, to: str) -> list[str]:
        return self._mailbox.of(to)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def sign_in(client: httpx2.AsyncClient, email: str, password: str) -> httpx2.Response:
    return await client.post("/api/v1/auth/login", json={"email": email, "password": password})
