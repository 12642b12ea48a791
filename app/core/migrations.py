"""Migrations: running them, one process at a time. Only commands and tests load this (and Alembic with it)."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from app.core.db import Database
from app.core.revision import ROOT


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["connection"] = connection
    return config


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision`; concurrent callers wait for each other. Idempotent."""
    async with database.exclusive() as connection:
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), revision))


async def downgrade(database: Database, revision: str) -> None:
    async with database.exclusive() as connection:
        await connection.run_sync(lambda sync: command.downgrade(alembic_config(sync), revision))


async def check(database: Database) -> None:
    """Raise CommandError if the models say something that no migration makes."""
    async with database.exclusive() as connection:
        await connection.run_sync(lambda sync: command.check(alembic_config(sync)))
