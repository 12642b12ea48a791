"""What goes over a whole library may take its time; whoever only reads a page may not."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import String, cast, func, select, text
from sqlalchemy.exc import DBAPIError

from app.core import engines
from app.core.config import Settings
from app.core.db import Database
from app.jobs import circulation
from app.jobs.failures import JobFailed
from app.loans import invariants

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("backend", ["postgresql"])]
SLOW = select(cast(func.pg_sleep(0.6), String))


async def test_the_search_for_broken_rules_takes_longer_than_a_page_may(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.POSTGRES_LIMITS, "statement_timeout", "300")
    monkeypatch.setattr(invariants, "_STATEMENTS", ((7, "a rule that takes long", SLOW),))
    database = Database(settings)
    with pytest.raises(JobFailed, match="1 violations"):
        await circulation.check_invariants(database, settings, datetime.now(UTC))
    with pytest.raises(DBAPIError, match="statement timeout"):
        async with database.reading() as session:
            await session.execute(SLOW)
    async with database.reading(seconds=7) as session:
        assert await session.scalar(text("SHOW statement_timeout")) == "7s"
    async with database.reading() as session:
        assert await session.scalar(text("SHOW statement_timeout")) == "300ms"
    await database.close()
