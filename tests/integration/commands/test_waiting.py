"""Commands that stay, and a database server that starts after them."""

import asyncio
from pathlib import Path

import pytest

from app.commands import database as opened
from app.core.config import Environment
from app.core.db import Database
from tests import servers
from tests.conftest import _settings

pytestmark = pytest.mark.anyio


async def ask(database: Database) -> str:
    await database.ping()
    return "answered"


async def test_what_stays_waits_for_the_server_and_what_ends_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.postgres() as postgres:
        given = _settings(tmp_path, database_url=f"{postgres.url}/postgres")
        settings = given.model_copy(update={"environment": Environment.PRODUCTION})
        postgres.stop()
        with pytest.raises(opened.DatabaseUnusable):
            await opened.use(settings, ask, migrated=False)
        waiting = asyncio.create_task(opened.use(settings, ask, migrated=False, is_patient=True))
        await asyncio.sleep(1.5)
        assert not waiting.done()
        await asyncio.to_thread(postgres.start)
        assert await waiting == "answered"
        postgres.stop()
        monkeypatch.setattr(opened, "PATIENCE_SECONDS", 0)
        with pytest.raises(opened.DatabaseUnusable):
            await opened.use(settings, ask, migrated=False, is_patient=True)
        postgres.start()
