"""Statements of the desk's hot path: the session's own transaction, the driver's own price.

A statement is built with SQLAlchemy once, with `bindparam()` for what changes, and compiled once for each database.
Running it costs what the driver costs: 45 µs, where a session takes 120 to 250 (measured). It knows nothing of the
session's objects: what they change is written before it runs, and what it changes they learn by `refresh`.
"""

import asyncio
import json
import sqlite3
import time
from collections import namedtuple
from collections.abc import Awaitable, Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, Protocol, TypeVar

import asyncpg
from sqlalchemy import JSON, Dialect, Insert, Select, literal, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from app.core import metrics
from app.core.driver import Compiled, Statement
from app.core.engines import POSTGRES_ERRORS

Convert = Callable[[Any], Any]
T = TypeVar("T")

# The driver's connection beneath a session, once its transaction has begun.
_DRIVER: Final = "driver"


class Ask(Protocol):
    """Asks the primary now, outside any transaction: `Database.ask`."""

    async def __call__(self, statement: "Direct", **values: Any) -> list[Any]: ...


class Direct:
    """One statement. Its rows are named tuples of the columns that it selects or returns.

    `columns` are those that an INSERT or UPDATE is given.
    """

    def __init__(self, statement: Statement, *, columns: Sequence[str] = ()) -> None:
        # `inline`: nobody asks for the new row's key.
        self._statement = statement.inline() if isinstance(statement, Insert) else statement
        self._columns = list(columns) or None
        self._compiled: dict[str, Text] = {}

    def text(self, dialect: Dialect) -> "Text":
        """The statement as this kind of database reads it."""
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = Text(self._statement, dialect, self._columns)
        return self._compiled[dialect.name]

    async def all(self, session: AsyncSession, **values: Any) -> list[Any]:
        """The rows."""
        text = self.text(session.sync_session.get_bind().dialect)
        return text.read(await _run(session, text, values))

    async def one(self, session: AsyncSession, **values: Any) -> Any:
        """The first row, or None."""
        return next(iter(await self.all(session, **values)), None)

    async def write(self, session: AsyncSession, **values: Any) -> None:
        """Run an INSERT, UPDATE or DELETE."""
        await _run(session, self.text(session.sync_session.get_bind().dialect), values)


async def refresh(session: AsyncSession, entity: type[Any], key: object) -> None:
    """Read a row again that was changed directly, if the session has it as an object."""
    known = session.sync_session.identity_map.get(session.sync_session.identity_key(entity, key))
    if known is not None:
        await session.refresh(known)


class Text(Compiled):
    """A statement for one kind of database: also how values go in, and how rows come out."""

    def __init__(self, statement: Statement, dialect: Dialect, columns: Sequence[str] | None) -> None:
        super().__init__(statement, dialect, columns=columns)
        self._into = [
            (place, convert)
            for place, name in enumerate(self._names)
            if (convert := self.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) is not None
        ]
        found = statement.selected_columns if isinstance(statement, Select) else statement.exported_columns
        self._row: Any = namedtuple("Row", [column.key for column in found])  # type: ignore[misc]  # noqa: PYI024  # named at run time
        self._out_of: list[tuple[int, Convert]] = [
            (place, read)
            for place, column in enumerate(found)
            if (read := _converter(column.type, dialect)) is not None
        ]
        self.word = self.text.split(None, 1)[0].lower()

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The same, as the driver takes them."""
        found = super().values(given)
        for place, convert in self._into:
            if found[place] is not None:
                found[place] = convert(found[place])
        return found

    def read(self, rows: Sequence[Any]) -> list[Any]:
        """The driver's rows as ours."""
        read = []
        for row in rows:
            found = list(row)
            for place, convert in self._out_of:
                found[place] = convert(found[place])
            read.append(self._row._make(found))
        return read


def _converter(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    convert: Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    # SQLAlchemy's connections to PostgreSQL read documents themselves; those without it give their text.
    return _read_document if convert is None and isinstance(kind, JSON) else convert


def _read_document(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


async def copy(session: AsyncSession, table: str, columns: Sequence[str], lines: bytes) -> None:
    """Append rows by PostgreSQL's COPY, as lines of its text format, in the session's transaction."""
    if await _driver_of(session) is None:
        await _NOTHING.all(session)
    driver: asyncpg.Connection = session.sync_session.info[_DRIVER]
    copying = driver.copy_to_table(table, source=BytesIO(lines), columns=list(columns))
    await _observed(session, f"COPY {table}", "insert", copying)


async def _run(session: AsyncSession, text: Text, given: Mapping[str, Any]) -> Sequence[Any]:
    driver = await _driver_of(session)
    values = text.values(given)
    if driver is None:
        return await _begin(session, text, values)
    if isinstance(driver, asyncpg.Connection):
        return await _observed(session, text.text, text.word, driver.fetch(text.text, *values))
    return list(await _observed(session, text.text, text.word, driver.execute_fetchall(text.text, values)))


async def _driver_of(session: AsyncSession) -> Any:
    """The driver's connection if the transaction has begun, after what the session holds has been written."""
    own = session.sync_session
    if own.new or own.deleted or own.dirty:
        await session.flush()
    return own.info.get(_DRIVER)


async def _observed(session: AsyncSession, text: str, word: str, answer: Awaitable[T]) -> T:
    """The driver's answer, measured, and its errors under SQLAlchemy's names."""
    began = time.perf_counter()
    try:
        return await answer
    except asyncio.CancelledError:
        # As a session does itself: the driver would wait for a server that may hang.
        await session.invalidate()
        raise
    except (*POSTGRES_ERRORS, sqlite3.Error) as error:
        kind = _class_of(error)
        metrics.count_query_error(kind.__name__)
        raise kind(text, None, error) from error
    finally:
        metrics.record_query(word, time.perf_counter() - began)


async def _begin(session: AsyncSession, text: Text, values: list[Any]) -> Sequence[Any]:
    """The first statement goes SQLAlchemy's way, which begins the transaction as this kind of database wants it."""
    connection = await session.connection()
    result = await connection.exec_driver_sql(text.text, tuple(values))
    rows = result.all() if result.returns_rows else ()
    raw = await connection.get_raw_connection()
    session.sync_session.info[_DRIVER] = raw.driver_connection
    return rows


def _class_of(error: Exception) -> type[DBAPIError]:
    """What SQLAlchemy calls it, so that whoever handles errors hears of one kind only."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError | sqlite3.IntegrityError):
        return IntegrityError
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return InterfaceError
    return OperationalError if isinstance(error, sqlite3.OperationalError) else DBAPIError


_NOTHING: Final = Direct(select(literal(1).label("nothing")))
