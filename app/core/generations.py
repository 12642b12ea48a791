"""How far each kind of data has come: the number that every writing transaction raises, known without asking each time.

A process reads a number again when it is 0.4 s old, beside its requests, and at once after a change of its own. What
was read from the database after a number is at least as new as that number says.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from app.core.tasks import end

log = structlog.get_logger()

REREAD_SECONDS: Final = 0.4
TRUSTED_SECONDS: Final = 0.9


@dataclass(frozen=True, slots=True)
class _Known:
    """A number, when it was read, and how many changes this process had made by then."""

    number: int
    read_at: float
    changes_here: int


class Generations:
    """`read` asks the database; `changes_here` counts the changes that this process has made."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[int]],
        changes_here: Counter[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._changes_here = changes_here
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._rereads: dict[str, asyncio.Task[None]] = {}

    async def number(self, kind: str) -> int | None:
        """The number, as it was at most 0.9 s before this was asked; None if the database doesn't tell it."""
        asked_at, changes_here = self._clock(), self._changes_here[kind]
        age = self._age(kind, asked_at, changes_here)
        if age > REREAD_SECONDS:
            reread = self._rereads.get(kind)
            if reread is None or reread.done():
                reread = self._rereads[kind] = asyncio.create_task(self._reread(kind))
            if age > TRUSTED_SECONDS:
                # However long that takes: a crowd on a slow machine must not all go and ask the database.
                await asyncio.shield(reread)
                if self._age(kind, asked_at, changes_here) > TRUSTED_SECONDS:
                    return None
        return self._known[kind].number

    def fresh(self, kind: str) -> int | None:
        """The number, if it was read so lately that nobody has to ask; None: await `number`."""
        is_fresh = self._age(kind, self._clock(), self._changes_here[kind]) <= REREAD_SECONDS
        return self._known[kind].number if is_fresh else None

    async def close(self) -> None:
        await end(*self._rereads.values())

    def _age(self, kind: str, now: float, changes_here: int) -> float:
        known = self._known.get(kind)
        if known is None or known.changes_here < changes_here:
            return float("inf")
        return now - known.read_at

    async def _reread(self, kind: str) -> None:
        now, changes_here = self._clock(), self._changes_here[kind]
        try:
            number = await self._read(kind)
        except Exception as error:  # noqa: BLE001  # a database that is away: the application says so
            log.warning("generation_unknown", kind=kind, reason=type(error).__name__)
            return
        self._known[kind] = _Known(number, now, changes_here)
