"""Where something still stands in an installation: every table, every file, every line of the log."""

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

from sqlalchemy import MetaData, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.config import Settings
from app.core.db import Database


async def traces(settings: Settings, *, words: list[str], log: str = "") -> list[str]:
    """Every place that holds one of the words, in any case; of an id also its plain digits and its bytes."""
    needles = [form for word in words for form in _forms(word)]
    found = [f"the log holds {needle!r}" for needle in needles if needle in log.lower().encode()]
    for path in sorted(settings.data_dir.rglob("*")):
        if path.is_file():
            content = str(path.relative_to(settings.data_dir)).lower().encode() + path.read_bytes().lower()
            found += [f"{path.name} holds {needle!r}" for needle in needles if needle in content]
    for place, value in await _values(settings):
        found += [f"{place} holds {needle!r}" for needle in needles if needle in value]
    return found


def _forms(word: str) -> list[bytes]:
    forms = [word.lower().encode()]
    try:
        parsed = UUID(word)
    except ValueError:
        return forms
    return [*forms, parsed.hex.encode(), parsed.bytes.lower()]


async def _values(settings: Settings) -> list[tuple[str, bytes]]:
    """Every value of every table that is there, whatever the models know."""
    engine = create_async_engine(Database(settings).url)
    metadata = MetaData()
    values: list[tuple[str, bytes]] = []
    async with engine.connect() as connection:
        await connection.run_sync(metadata.reflect)
        for table in metadata.sorted_tables:
            for row in await connection.execute(
                select(*(text(f'"{column.name}"') for column in table.c)).select_from(table)
            ):
                for column, value in zip(table.c, row, strict=True):
                    raw = value if isinstance(value, bytes) else str(value).encode()
                    values.append((f"{table.name}.{column.name}", raw.lower()))
    await engine.dispose()
    assert len(metadata.tables) > 25
    return values


def copied(source: Path, target: Path) -> None:
    """A copy of an SQLite database with what still stands in its log, in place of whatever was there."""
    for suffix in ("", "-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
