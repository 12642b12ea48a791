"""Relevance on real records: what readers would type, and the book they mean, among the first five."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from app.books import queries
from app.books.models import SourceRecord
from app.books.schemas import BookQuery
from app.core.db import Database
from tests import evidence
from tests.integration.conftest import Sample

pytestmark = pytest.mark.anyio

DATA = Path(__file__).resolve().parents[2] / "data"
FIRST = 5
SHARE = 0.95
COMMON = (
    "history", "the", "united states", "политика", '"history of"', "a", "中国", "education law", "new york 1999",
)  # fmt: skip


def questions(name: str) -> list[tuple[str, str]]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["query"], row["control_number"]) for row in csv.DictReader(file)]


async def answers(database: Database, asked: list[tuple[str, str]]) -> list[list[str]]:
    """The control numbers of the first five books for each query."""
    async with database.reading() as session:
        numbers = await session.execute(select(SourceRecord.book_id, SourceRecord.control_number))
        number_of = {row.book_id: row.control_number for row in numbers}
        pages = [await queries.page(session, BookQuery(q=query, limit=FIRST)) for query, _ in asked]
    return [[number_of[row.id] for row in page.rows] for page in pages]


@pytest.mark.parametrize(
    ("name", "least", "share"), [("relevance", 120, 0.95), ("typos", 60, 0.95), ("russian", 60, 0.95)]
)
async def test_the_book_that_is_meant_is_among_the_first_five(
    sample_database: Database, backend: str, name: str, least: int, share: float
) -> None:
    asked = questions(name)
    found = await answers(sample_database, asked)
    missed = [query for (query, number), numbers in zip(asked, found, strict=True) if number not in numbers]
    first = sum(numbers[:1] == [number] for (_, number), numbers in zip(asked, found, strict=True))
    figures = {"queries": len(asked), "in_first_five": len(asked) - len(missed), "first": first, "missed": missed}
    evidence.keep(name, backend, **figures)
    assert len(asked) >= least
    assert len(missed) <= len(asked) * (1 - SHARE), missed


@pytest.fixture
def both_samples(shared: Path, sample_of: Callable[[str], Sample]) -> list[Sample]:
    del shared
    return [sample_of(backend) for backend in ("sqlite", "postgresql")]


async def test_both_databases_give_the_same_books_in_the_same_order(both_samples: list[Sample]) -> None:
    asked = [question for name in ("relevance", "typos", "russian") for question in questions(name)]
    asked += [(query, "") for query in COMMON]
    found = []
    for sample in both_samples:
        database = Database(sample.settings)
        found.append(await answers(database, asked))
        await database.close()
    differing = [(query, left, right) for (query, _), left, right in zip(asked, *found, strict=True) if left != right]
    assert differing == []
