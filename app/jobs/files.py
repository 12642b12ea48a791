"""Files outside the database by the clock: orphans are swept up, erased pseudonyms reach their ledger."""

from datetime import datetime

from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject
from app.core.storage import Storage, StorageUnavailable
from app.erasure import service as erasure
from app.jobs.failures import JobFailed
from app.uploads import service as uploads

_UNREACHABLE = "the storage can't be reached"


async def sweep_uploads(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Delete stored files that no upload names any more.

    Raises:
        JobFailed: the storage can't be reached; the next run goes on.
    """
    try:
        return {"deleted": await uploads.sweep(database, Storage(settings), now=now)}
    except StorageUnavailable:
        raise JobFailed(_UNREACHABLE, result={}) from None


async def hand_over_erasures(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Write to the erasure ledger what could not be written when the account was erased.

    Raises:
        JobFailed: the storage can't be reached; the next run goes on.
    """
    del now
    try:
        return {"handed_over": await erasure.hand_over(database, Storage(settings))}
    except StorageUnavailable:
        raise JobFailed(_UNREACHABLE, result={}) from None
