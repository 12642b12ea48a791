"""Many new rows in one go: COPY on PostgreSQL, one INSERT run many times on SQLite."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import FromClause, TableClause, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import direct


async def insert_rows(
    session: AsyncSession, table: FromClause, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Append rows, each with values in the order of `columns`: None, bool, int, str, bytes or aware datetimes.

    Raises:
        DBAPIError: the database refuses one of them; none is there then.
    """
    if _is_sqlite(session):
        if named := [dict(zip(columns, row, strict=True)) for row in rows]:
            await session.execute(insert(_known(table)), named)
        return
    lines = ["\t".join([_WRITTEN[type(value)](value) for value in row]) for row in rows]
    if lines:
        await direct.copy(session, _known(table).name, columns, "\n".join([*lines, ""]).encode())


async def next_ids(session: AsyncSession, table: FromClause, count: int) -> list[int]:
    """Ids for new rows of a table, in order; nobody else gets them."""
    if _is_sqlite(session):  # it has one writer, who holds the database already
        last = await session.scalar(_LAST_ID, {"name": _known(table).name}) or 0
        return list(range(last + 1, last + 1 + count))
    return list(await session.scalars(_NEXT_IDS, {"name": _known(table).name, "count": count}))


def _is_sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _known(table: FromClause) -> TableClause:
    """What a model calls `__table__` may be any FROM clause to the type checker."""
    assert isinstance(table, TableClause)
    return table


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
