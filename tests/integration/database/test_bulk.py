"""Many rows at once: every value comes back as it was given, a refusal leaves nothing, ids are nobody else's."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Table, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.books.models import Book, SourceRecord
from app.core.bulk import Rows, insert_rows, next_ids
from app.core.db import Database

pytestmark = pytest.mark.anyio

SEED = 20_261_201
NOW = datetime(2026, 12, 1, 12, 30, 15, 123_456, tzinfo=UTC)
# What COPY's text format gives a meaning to, alone and among others.
AWKWARD = (
    "\\N", "\\.", "\\", "\\\\", "\\t", "\t", "\n", "\r", "\r\n", "\x08\x0b\x7f", "", " ",
    "e\u0301", "\U0001d11e", "\\x41",
)  # fmt: skip
PIECES = [*AWKWARD, "a", "N", ".", "x41", "'", '"', "NULL", "\x1a", "\u2028"]
COLUMNS = (
    "id", "version", "title", "title_key", "year", "document", "search_terms", "suppressed", "created_at",
    "updated_at",
)  # fmt: skip
KEPT = ("book_id", "source", "control_number", "digest", "format", "record", "imported_at")
BOOKS, SOURCES = Book.__table__, SourceRecord.__table__


def rows(ids: list[int], texts: list[str]) -> list[tuple[Any, ...]]:
    return [
        (id_, 1, said, said, None if id_ % 2 else -id_, said, said, id_ % 3 == 0, NOW, NOW)
        for id_, said in zip(ids, texts, strict=True)
    ]


async def put(database: Database, texts: list[str], then: Callable[[], None] = lambda: None) -> list[int]:
    async with database.transaction() as session:
        ids = await next_ids(session, BOOKS, len(texts))
        await insert_rows(session, Rows(BOOKS, COLUMNS, rows(ids, texts)))
        then()
    return ids


async def test_every_value_comes_back_as_it_was_given(database: Database) -> None:
    chance = random.Random(SEED)
    texts = [*AWKWARD] + ["".join(chance.choices(PIECES, k=chance.randrange(1, 6))) for _ in range(500)]
    ids = await put(database, texts)
    columns = [getattr(Book, name) for name in COLUMNS]
    async with database.reading() as session:
        found = [tuple(row) for row in await session.execute(select(*columns).order_by(Book.id))]
    assert found == rows(ids, texts)


async def test_bytes_come_back_as_they_were_given(database: Database) -> None:
    [book_id] = await put(database, ["Emma"])
    given = [bytes(range(256)), b"", b"\\x41\\N\n\t"]
    async with database.transaction() as session:
        kept = [(book_id, "S", str(place), "", "marc", data, NOW) for place, data in enumerate(given)]
        await insert_rows(session, Rows(SOURCES, KEPT, kept))
    async with database.reading() as session:
        found = list(await session.scalars(select(SourceRecord.record).order_by(SourceRecord.control_number)))
    assert found == given


async def test_a_row_that_is_refused_leaves_none(database: Database) -> None:
    assert isinstance(BOOKS, Table)
    async with database.transaction() as session:
        [first, second] = await next_ids(session, BOOKS, 2)
        await session.execute(insert(BOOKS), [dict(zip(COLUMNS, rows([second], ["A"])[0], strict=True))])
    kept = Rows(SOURCES, KEPT, [(first, "S", "1", "", "marc", b"", NOW)])
    with pytest.raises(DBAPIError) as refused:
        async with database.transaction() as session:
            await insert_rows(session, Rows(BOOKS, COLUMNS, rows([first, second], ["B", "C"])), kept)
    assert isinstance(refused.value, IntegrityError)
    async with database.reading() as session:
        assert list(await session.scalars(select(Book.title))) == ["A"]
        assert list(await session.scalars(select(SourceRecord.id))) == []


async def test_ids_are_given_once_also_after_what_was_given_up(database: Database) -> None:
    given = await put(database, ["A", "B"])
    with pytest.raises(KeyError):
        await put(database, ["C", "D"], then=lambda: dict[str, None]()["it is given up"])
    each = await asyncio.gather(*(put(database, ["D"] * 3) for _ in range(5)))
    given += [id_ for ids in each for id_ in ids]
    assert len(set(given)) == len(given) == 17
    assert all(ids == sorted(ids) for ids in each)
    async with database.transaction() as session:
        session.add(Book(**dict(zip(COLUMNS, rows([1], ["E"])[0], strict=True)) | {"id": None}))
        await session.flush()
        assert await session.scalar(select(func.count(Book.id))) == 18, "a row of the session's gets an id of its own"
