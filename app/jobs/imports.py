"""Taking in the catalogue files that were uploaded."""

from collections import Counter
from datetime import UTC, datetime

from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject
from app.imports import running


async def run(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Take in one file after the other until none waits; interrupted, the next run goes on where this one stopped."""
    del now  # a file may take an hour, and its lease is renewed by the time it really is
    done: Counter[str] = Counter()
    while await running.run_pending(database, settings=settings, clock=lambda: datetime.now(UTC)):
        done["files"] += 1
    return dict(done)
