"""Purging sign-ins and mailed tokens that have expired."""

from datetime import datetime
from typing import Final

from app.auth.service import accounts
from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject

BATCH: Final = 1_000


async def purge(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Delete expired sessions and mailed tokens, a batch a transaction."""
    del settings
    deleted = 0
    while True:
        async with database.transaction() as session:
            batch = await accounts.purge(session, now=now, limit=BATCH)
        deleted += batch
        if batch == 0:
            return {"deleted": deleted}
