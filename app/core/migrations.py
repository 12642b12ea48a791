"""Migrations: running them, one process at a time. Only commands and tests load this (and Alembic with it)."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.db import Database
from app.core.revision import ROOT

log = structlog.get_logger()

PATIENCE_SECONDS: Final = 120
PAUSE_SECONDS: Final = 1.0
LOCK_NOT_AVAILABLE: Final = "55P03"


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["connection"] = connection
    return config


async def upgrade(database: Database, revision: str = "head", *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Bring the schema to `revision`; concurrent callers wait for each other. Idempotent.

    On PostgreSQL each migration is a transaction. One that does not get a table within its 200 ms lets everybody pass
    who waited behind it and is tried again, for `patience_seconds` in all; then the DBAPIError is raised.
    """
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            async with _connection(database) as connection:
                await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), revision))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") != LOCK_NOT_AVAILABLE or time.monotonic() > give_up_at:
                raise
            log.info("migration_waits", seconds_left=round(give_up_at - time.monotonic()))
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


async def downgrade(database: Database, revision: str) -> None:
    async with _connection(database) as connection:
        await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), revision))


async def check(database: Database) -> None:
    """Raise CommandError if the models say something that no migration makes."""
    async with _connection(database) as connection:
        await connection.run_sync(lambda sync: command.check(alembic_config(sync)))


def _connection(database: Database) -> AbstractAsyncContextManager[AsyncConnection]:
    """On SQLite the block is one transaction; on PostgreSQL it is in none, and each migration makes its own."""
    return database.exclusive() if database.is_sqlite else database.primary.migrating()
