"""Two steps forced to meet: one is written and not committed while the next begins."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings import service as bookings
from app.bookings.context import Context
from app.copies import service as copies
from app.core.db import Database
from app.core.errors import AppError
from app.loans import service as loans
from tests.circulation import Library

MOMENT_SECONDS = 0.25
Step = Callable[[Library], Awaitable[Any]]


class Inside(Library):
    """The library from inside one transaction that somebody else ends."""

    def __init__(self, database: Database, session: AsyncSession, context: Context) -> None:
        super().__init__(database)
        self._open = session, context

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[tuple[AsyncSession, Context]]:
        yield self._open


async def behind(library: Library, first: Step, second: Step) -> Any:
    """Begin one step, begin another before it is committed, see it wait, commit: what the other gave, or its code."""
    async with library.transaction() as (session, context):
        await first(Inside(library.database, session, context))
        waiting = asyncio.ensure_future(second(library))
        await asyncio.sleep(MOMENT_SECONDS)
        assert not waiting.done(), "it must wait for what is under way"
    try:
        answer = await waiting
    except AppError as refusal:
        answer = refusal.code
    assert await library.violations() == []
    return answer


def merge(library: Library, source: int, target: int) -> Awaitable[None]:
    return library.act(
        lambda session, context: loans.merge(session, source_id=source, target_id=target, context=context)
    )


def remove(library: Library, copy_id: int) -> Awaitable[None]:
    return library.act(
        lambda session, context: copies.remove(session, copy_id=copy_id, if_match=None, currency="EUR", now=context.now)
    )


def resume(library: Library, booking_id: Any) -> Awaitable[Any]:
    return library.act(
        lambda session, context: bookings.resume(
            session, booking_id=booking_id, is_mine=lambda _: True, context=context
        )
    )


def renew(library: Library, loan_id: Any) -> Awaitable[Any]:
    return library.act(
        lambda session, context: loans.renew(session, loan_id=loan_id, is_mine=lambda _: True, context=context)
    )


def undo(library: Library, scan_id: Any) -> Awaitable[Any]:
    return library.act(lambda session, context: loans.undo(session, scan_id=scan_id, context=context))
