"""Source records: what books were made from, found by the key of an import or by book."""

from collections.abc import Collection, Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from app.books.models import SourceRecord


async def kept(session: AsyncSession, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], SourceRecord]:
    """The kept source records, their bytes too, by (source, control number)."""
    found: dict[tuple[str, str], SourceRecord] = {}
    for source, numbers in _by_source(keys).items():
        statement = select(SourceRecord).where(SourceRecord.source == source, SourceRecord.control_number.in_(numbers))
        for record in await session.scalars(statement.options(undefer(SourceRecord.record))):
            found[source, record.control_number] = record
    return found


async def known(session: AsyncSession, keys: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the keys under which a source record is kept."""
    found: set[tuple[str, str]] = set()
    for source, numbers in _by_source(keys).items():
        statement = select(SourceRecord.control_number).where(
            SourceRecord.source == source, SourceRecord.control_number.in_(numbers)
        )
        found.update((source, number) for number in await session.scalars(statement))
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
