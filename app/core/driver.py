"""Reading through the database's driver alone, for the few answers that are asked for most.

A statement is built with SQLAlchemy as any other, and compiled once. Going through its session for each page costs
several times what the page itself does.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import aiosqlite
import asyncpg
from sqlalchemy import Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core import metrics
from app.core.engines import POOL_TIMEOUT_SECONDS, POSTGRES_ERRORS, Postgres

Rows = Sequence[Any]
"""Rows whose columns are unpacked in the statement's order."""

_selects: Final = metrics.db_query_duration_seconds.labels("select")


Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete


class Compiled:
    """The text of a statement for one database, and the names of its bound values in their order.

    `columns` are those that an INSERT or UPDATE is given.
    """

    def __init__(self, statement: Statement, dialect: Dialect, *, columns: Sequence[str] | None = None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        self.text = str(compiled)
        self.binds = compiled.binds
        self._names: Sequence[str] = getattr(compiled, "positiontup", None) or ()
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """All values in the statement's order: those given, and those that were written into it."""
        return [given[name] if name in given else self._fixed[name] for name in self._names]


class Driver(Protocol):
    """Reads rows with a compiled statement."""

    dialect: Dialect

    async def rows(self, statement: Compiled, **values: Any) -> Rows:
        """The rows.

        Raises:
            NoAnswer: the database didn't answer.
        """

    async def fetch(self, text: str, values: Sequence[Any]) -> Rows:
        """The same by text and values in their order."""

    async def close(self) -> None: ...


class NoAnswer(Exception):
    """The database didn't answer, or not in time."""


class PostgresDriver:
    """A few connections of its own, beside those of SQLAlchemy; `pool_seconds` is how long one waits for a free one."""

    def __init__(self, postgres: Postgres, dialect: Dialect, *, pool_seconds: float = POOL_TIMEOUT_SECONDS) -> None:
        self.dialect = dialect
        self._pool_seconds = pool_seconds
        self._postgres = postgres
        self._pool: asyncpg.Pool | None = None

    async def rows(self, statement: Compiled, **values: Any) -> Rows:
        return await self.fetch(statement.text, statement.values(values))

    async def fetch(self, text: str, values: Sequence[Any]) -> Rows:
        began = time.perf_counter()
        try:
            self._pool = self._pool or self._postgres.pool()
            await self._pool  # opens nothing yet; a pool wants to be awaited once
            connection = await self._pool.acquire(timeout=self._pool_seconds)
            metrics.db_connections.inc()
            try:
                return await connection.fetch(text, *values)
            finally:
                metrics.db_connections.dec()
                await self._pool.release(connection)
        except (OSError, TimeoutError, *POSTGRES_ERRORS) as error:
            raise NoAnswer from error
        finally:
            _selects.observe(time.perf_counter() - began)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()


class SqliteDriver:
    """Uses the readers' connections, beneath SQLAlchemy."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.dialect = engine.dialect
        self._engine = engine

    async def rows(self, statement: Compiled, **values: Any) -> Rows:
        return await self.fetch(statement.text, statement.values(values))

    async def fetch(self, text: str, values: Sequence[Any]) -> Rows:
        began = time.perf_counter()
        try:
            async with self._engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver: aiosqlite.Connection = raw.driver_connection  # type: ignore[assignment]  # what the engine opened
                return list(await driver.execute_fetchall(text, values))
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise NoAnswer from error
        finally:
            _selects.observe(time.perf_counter() - began)

    async def close(self) -> None:
        """Nothing of its own is open."""
