"""Source records: what books were made from, found by the key of an import or by book."""

from collections.abc import Collection, Iterable

from sqlalchemy import Text, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from app.books.models import SourceRecord
from app.books.search import finding
from app.core.functions import among, listed


async def kept(session: AsyncSession, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SourceRecord]:
    """The kept source records, their bytes too, by (source, control number)."""
    await finding.plan_each(session)
    found: dict[tuple[str, str], SourceRecord] = {}
    for source, numbers in _by_source(keys).items():
        asked = among(SourceRecord.control_number, listed(numbers, Text()))
        statement = select(SourceRecord).where(SourceRecord.source == source, asked)
        for record in await session.scalars(statement.options(undefer(SourceRecord.record))):
            found[source, record.control_number] = record
    await finding.plan_once(session)
    return found


async def first_of(session: AsyncSession, book_ids: Collection[int]) -> dict[int, SourceRecord]:
    """The first source record of each book that has one, with its bytes."""
    statement = select(SourceRecord).where(SourceRecord.book_id.in_(book_ids)).order_by(SourceRecord.id.desc())
    found = await session.scalars(statement.options(undefer(SourceRecord.record)))
    return {record.book_id: record for record in found}


def _by_source(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    numbers: dict[str, list[str]] = {}
    for source, number in keys:
        numbers.setdefault(source, []).append(number)
    return numbers
