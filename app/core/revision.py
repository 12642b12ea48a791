"""The schema's revision: what the database has and what this code needs, without loading Alembic."""

from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import text

from app.core.db import Database

ROOT: Final = Path(__file__).resolve().parents[2]
VERSIONS: Final = ROOT / "alembic" / "versions"


@cache
def newest() -> str:
    """The newest revision that this code knows; files are numbered, so the last name says it."""
    return max(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*_*.py"))


async def current(database: Database) -> str | None:
    """The revision that the database stands at; None if it was never migrated."""
    async with database.reading() as session:
        if database.is_sqlite:
            known = await session.scalar(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"))
        else:
            known = await session.scalar(text("SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL"))
        if not known:
            return None
        found: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
        return found


async def is_pending(database: Database) -> bool:
    """Whether the database lags behind this code; one that is ahead (a newer release migrated it) does not."""
    return (await current(database) or "") < newest()
