"""Many new rows in one go: COPY on PostgreSQL, one INSERT run many times on SQLite.

One of the few modules that ask which database it is.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import FromClause, TableClause, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import direct

# One thread: each has memory of its own, which is never given back.
_executor: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rows")


class Rows(NamedTuple):
    """New rows of a table, with values in the order of `columns`: None, bool, int, str, bytes or aware datetimes."""

    table: FromClause
    columns: Sequence[str]
    values: Iterable[Sequence[Any]]


async def insert_rows(session: AsyncSession, *tables: Rows) -> None:
    """Append rows, one table after the other. Values may be an iterator's, which a thread may run.

    Raises:
        DBAPIError: the database refuses one of them; none of that table is there then.
    """
    if is_sqlite(session):
        for rows in tables:
            if named := [dict(zip(rows.columns, row, strict=True)) for row in rows.values]:
                await session.execute(insert(_known(rows.table)), named)
        return
    # While the database takes the rows of one table, the lines of the next are written.
    loop = asyncio.get_running_loop()
    for rows, written in [(rows, loop.run_in_executor(_executor, _lines, rows.values)) for rows in tables]:
        if lines := await written:
            await direct.copy(session, _known(rows.table).name, rows.columns, lines)


async def next_ids(session: AsyncSession, table: FromClause, count: int) -> list[int]:
    """Ids for new rows of a table that never gives one twice (AUTOINCREMENT on SQLite), in order."""
    if is_sqlite(session):  # it has one writer, who holds the database already
        last = await session.scalar(_LAST_ID, {"name": _known(table).name}) or 0
        return list(range(last + 1, last + 1 + count))
    return list(await session.scalars(_NEXT_IDS, {"name": _known(table).name, "count": count}))


def is_sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _known(table: FromClause) -> TableClause:
    """What a model calls `__table__` may be any FROM clause to the type checker."""
    assert isinstance(table, TableClause)
    return table


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """The rows in COPY's text format."""
    return "".join(["\t".join([_WRITTEN[type(value)](value) for value in row]) + "\n" for row in rows]).encode()


def _escaped(value: str) -> str:
    plain = value.replace("\\", "\\\\")
    return plain.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


# Source: PostgreSQL manual, COPY, "Text Format".
_WRITTEN: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _: "\\N",
    bool: lambda value: "t" if value else "f",
    int: str,
    str: _escaped,
    bytes: lambda value: f"\\\\x{value.hex()}",
    datetime: datetime.isoformat,
}
_LAST_ID: Final = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
_NEXT_IDS: Final = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")
