"""Purging sign-ins that have expired."""

from datetime import datetime
from typing import Final

from app.auth import service as auth
from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject

BATCH: Final = 1_000


async def purge(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Delete expired sessions, a batch a transaction."""
    del settings
    deleted = 0
    while True:
        async with database.transaction() as session:
            batch = await auth.purge(session, now=now, limit=BATCH)
        deleted += batch
        if batch < BATCH:
            return {"deleted": deleted}
