"""What expires of signing in: purging sessions and mailed tokens, and a letter before a key ends."""

from datetime import datetime
from typing import Final

from app.auth.service import accounts, keys
from app.core.config import Settings
from app.core.db import Database
from app.core.mail import Mailer
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


async def remind_of_keys(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Tell owners of keys that these end soon, a batch a transaction."""
    mailer, told = Mailer(settings), 0
    try:
        while True:
            async with database.transaction() as session:
                batch = await keys.remind(session, mailer=mailer, address=settings.address, now=now, limit=BATCH)
            told += batch
            if batch == 0:
                return {"told": told}
    finally:
        await mailer.close()
