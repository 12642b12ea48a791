"""How the databases answer what a request asks: each statement with its plan, told as tables and ways into them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, event

from app.core import direct
from app.core.db import Database

READS = re.compile(r"\s*(?:WITH|SELECT|UPDATE|DELETE)\b", re.IGNORECASE)
SQLITE_STEP = re.compile(
    r"(?:SCAN|SEARCH) (?P<table>\w+)(?: USING (?:COVERING )?(?P<index>INDEX \w+|INTEGER PRIMARY KEY))?"
)

Asked = list[tuple[str, Any]]


@contextmanager
def asked() -> Iterator[Asked]:
    """The statements that this process sends while the block runs, directly or by an engine, with their parameters."""
    sent: Asked = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if READS.match(statement):
            sent.append((statement, parameters))

    def values(statement: direct.Text, given: Any) -> list[Any]:
        parameters = plain(statement, given)
        note(None, None, statement.text, parameters)
        return parameters

    plain = direct.Text.values
    event.listen(Engine, "before_cursor_execute", note)
    try:
        with patch.object(direct.Text, "values", values):
            yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def ways(database: Database, sent: Asked) -> set[tuple[str, str]]:
    """The ways into tables that the plans take, as (table, index); no index means that all rows are read."""
    async with database.reading() as session:
        connection = await (await session.connection()).get_raw_connection()
        driver: Any = connection.driver_connection
        taken = _sqlite_ways if database.is_sqlite else _postgres_ways
        return {way for statement, parameters in sent for way in await taken(driver, statement, parameters)}


async def _sqlite_ways(driver: Any, statement: str, parameters: Any) -> set[tuple[str, str]]:
    rows = await (await driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)).fetchall()
    steps = filter(None, (SQLITE_STEP.match(row[3]) for row in rows))
    return {(step["table"], _way(step["table"], step["index"] or "", statement)) for step in steps}


def _way(table: str, index: str, statement: str) -> str:
    """SQLite walks a table in the order of its ids without naming an index; with a limit that is no whole read."""
    is_walk = re.search(rf"ORDER BY {table}\.id( DESC)?\s+LIMIT", statement)
    return index.removeprefix("INDEX ") or ("its ids" if is_walk else "")


async def _postgres_ways(driver: Any, statement: str, parameters: Any) -> set[tuple[str, str]]:
    """With whole reads made so dear that they are taken only where nothing else can be."""
    await driver.execute("SET enable_seqscan = off")
    [told] = await driver.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    return set(_scans(told["Plan"], ""))


def _scans(node: dict[str, Any], table: str) -> Iterator[tuple[str, str]]:
    table = node.get("Relation Name", table)
    if node["Node Type"] == "Seq Scan" or "Index Name" in node:
        yield table, node.get("Index Name", "")
    for child in node.get("Plans", []):
        yield from _scans(child, table)
