"""Live availability: one look-out a process reads new events and tells whoever watches the books that they touch."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

import structlog

from app.api.circulation import live_counts
from app.audit import queries as events
from app.core.db import Database
from app.core.tasks import end

log = structlog.get_logger()

POLL_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 5.0
BATCH: Final = 1_000


class LookOut:
    """Watches the events table while anybody watches a book; works on both databases, behind any pooler."""

    def __init__(self, database: Database, is_draining: Callable[[], bool]) -> None:
        self._database = database
        self._is_draining = is_draining
        self._watchers: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def watch(self, book_ids: Collection[int]) -> AsyncIterator[str]:
        """Server-sent events for some books: how things stand, then each change, and a heartbeat every 5 s.

        Ends when the process is told to stop, so that the client turns to another one.
        """
        changed = asyncio.Event()
        for book_id in book_ids:
            self._watchers[book_id].add(changed)
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._look())
            told: dict[int, str] = {}
            while not self._is_draining():
                changed.clear()  # before looking: what happens meanwhile is looked at again
                for message in await self._news(book_ids, told):
                    yield message
                if not await _happens(changed, HEARTBEAT_SECONDS):
                    yield ": still here\n\n"
        finally:
            for book_id in book_ids:
                self._watchers[book_id].discard(changed)
                if not self._watchers[book_id]:
                    del self._watchers[book_id]

    async def _news(self, book_ids: Collection[int], told: dict[int, str]) -> list[str]:
        """The messages for what differs from what this watcher was told."""
        async with self._database.reading() as session:
            counts = await live_counts(session, list(book_ids))
        messages = []
        for book_id, counted in counts.items():
            data = f'{{"book_id":{book_id},{counted.model_dump_json()[1:]}'
            if told.get(book_id) != data:
                told[book_id] = data
                messages.append(f"event: availability\ndata: {data}\n\n")
        return messages

    async def _look(self) -> None:
        """Wake the watchers of books that something happened to; ends with the last watcher."""
        last: int | None = None
        while self._watchers:
            try:
                async with self._database.reading() as session:
                    if last is None:
                        last = await events.last_event(session)
                    found = await events.events_after(session, after=last, limit=BATCH)
            except Exception as error:  # noqa: BLE001  # a database that is away for a while; the watchers stay
                log.warning("look_out_blind", reason=type(error).__name__)
                found = ()
            for event in found:
                last = event.id
                for watcher in self._watchers.get(event.book_id or 0, ()):
                    watcher.set()
            if len(found) < BATCH:
                await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
