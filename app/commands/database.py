"""The database as commands open it: reachable and migrated, or a sentence that says what to do."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InternalError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.commands import masks
from app.core.config import Environment, Settings
from app.core.db import Database
from app.core.errors import AppError, Conflict, Unavailable
from app.core.logging import configure_logging
from app.core.revision import current, is_pending, newest

log = structlog.get_logger()

T = TypeVar("T")
Work = Callable[[Database], Awaitable[T]]

# How long what stays waits for a server that starts after it, as when power is back; then whoever started it goes on.
PATIENCE_SECONDS: Final = 60
PAUSE_SECONDS: Final = 1.0
# What the program did wrong, not the server or the disk.
OUR_FAULTS: Final = (DataError, IntegrityError, InternalError, NotSupportedError, ProgrammingError)


class DatabaseUnusable(Unavailable):
    code, detail = "database_unusable", "The database {url} can't be used: {reason}.\n{advice}"


class MigrationsPending(Conflict):
    code, detail = (
        "migrations_pending",
        "The database {found} and this release needs {needed}. Run `library migrate` first.",
    )


def run(settings: Settings, work: Work[T], *, migrated: bool = True, is_patient: bool = False) -> T:
    """Run `work` on the database of the settings and close it again; logs go to stderr.

    `is_patient`: in production, wait for a server that does not answer yet.

    Raises:
        DatabaseUnusable: whatever the server, the file, the disk or the network said.
        MigrationsPending: unless `migrated` is False.
    """
    configure_logging(settings, stream=sys.stderr)
    return asyncio.run(use(settings, work, migrated=migrated, is_patient=is_patient))


async def use(settings: Settings, work: Work[T], *, migrated: bool = True, is_patient: bool = False) -> T:
    """As `run`, inside a running loop."""
    waits = is_patient and settings.environment is Environment.PRODUCTION and settings.database_url is not None
    database = await _awaited(settings) if waits else await _open(settings)
    try:
        if migrated:
            await check_migrated(database)
        return await work(database)
    except (DBAPIError, PoolTimeoutError) as error:
        if isinstance(error, OUR_FAULTS):
            raise
        raise _unusable(settings, error) from error
    finally:
        await database.close()


async def check_migrated(database: Database) -> None:
    """Raise MigrationsPending if the schema is older than this code."""
    if await is_pending(database):
        found = await current(database)
        raise MigrationsPending(found=f"stands at {found}" if found else "is empty", needed=newest())


async def _awaited(settings: Settings) -> Database:
    deadline, told = time.monotonic() + PATIENCE_SECONDS, ""
    while True:
        try:
            return await _open(settings)
        except DatabaseUnusable as error:
            if time.monotonic() > deadline:
                raise
            if told != str(error):
                told = str(error)
                log.warning("waiting_for_database", reason=told, seconds_at_most=PATIENCE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)


async def _open(settings: Settings) -> Database:
    try:
        database = Database(settings)
    except Exception as error:  # an unmade folder, a URL that no driver understands
        raise _unusable(settings, error) from error
    try:
        await database.ping()
    except Exception as error:
        await database.close()
        raise _unusable(settings, error) from error
    return database


def _unusable(settings: Settings, error: Exception) -> AppError:
    if settings.database_url is None:
        shown = str(settings.data_dir.absolute() / "library.db")
    else:
        shown = masks.url(settings.database_url.get_secret_value())
    said = error.orig if isinstance(error, DBAPIError) else error
    reason = said.strerror if isinstance(said, OSError) and said.strerror else str(said)
    first_line = reason.strip().partition("\n")[0].rstrip(".") or type(said).__name__
    return DatabaseUnusable(url=shown, reason=first_line, advice=_advice(settings, first_line))


def _advice(settings: Settings, reason: str) -> str:
    if reason == "database is locked":
        return "Another program is writing to it; try again when that has finished."
    if "disk is full" in reason or "No space left" in reason:
        return "Make room on the disk; nothing was changed."
    if settings.is_embedded:
        return "Check that its folder exists and belongs to this user, and that the file is an SQLite database."
    return "Check DATABASE_URL, and that the server runs and lets this user in."
