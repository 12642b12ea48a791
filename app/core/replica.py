"""The replica: a copy of the database that may lag, asked only for what it is known to have."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.driver import Compiled, NoAnswer, PostgresDriver, Rows
from app.core.engines import Postgres
from app.core.generations import Generations
from app.core.resilience import Breaker
from app.core.tasks import end

ANSWER_SECONDS: Final = 1.0
POOL_SECONDS: Final = 0.25
PAUSE_SECONDS: Final = 5.0
ASK_AGAIN_SECONDS: Final = 0.1


T = TypeVar("T")


class Replica:
    """A kind of data is read from it while it has every change of that kind which the database told us of.

    It only ever comes nearer, so what it had once it has for good. `numbers` reads how far each kind has come: beside
    the readers, none of whom waits to hear whether it is late, or answers again.
    """

    def __init__(
        self,
        postgres: Postgres,
        generations: Generations,
        *,
        numbers: Select[str, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = postgres.engine(pool_seconds=POOL_SECONDS)
        self._driver = PostgresDriver(postgres, self.engine.dialect, pool_seconds=POOL_SECONDS)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._generations = generations
        self._numbers = Compiled(numbers, self.engine.dialect)
        self._clock = clock
        self._breaker = Breaker("replica", pause_seconds=PAUSE_SECONDS, clock=clock)
        self._reached: dict[str, int] = {}
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def has(self, kind: str) -> bool:
        """Whether it answers, and has every change of the kind that is known."""
        number = await self._generations.number(kind)
        if number is None:
            return False
        if self._breaker.is_closed and self._reached.get(kind, -1) >= number:
            return True
        self._look()
        return False

    def _look(self) -> None:
        now = self._clock()
        is_looking = self._looking is not None and not self._looking.done()
        if not is_looking and now - self._looked_at > ASK_AGAIN_SECONDS and self._breaker.may_ask():
            self._looked_at = now
            self._looking = asyncio.create_task(self._see())

    async def _see(self) -> None:
        with suppress(NoAnswer):
            self._reached = dict(await self.rows(self._numbers))

    async def read(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What `work` reads.

        Raises:
            NoAnswer: the replica failed, or would not have `work` do that; the database itself must be asked.
        """
        async with self._sessions() as session:
            try:
                found = await work(session)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                self._breaker.failed(error)
                await session.invalidate()  # its connection may hang: nothing polite is said to it any more
                raise NoAnswer from error
        self._breaker.succeeded()
        return found

    async def rows(self, statement: Compiled, **values: Any) -> Rows:
        """What the statement finds.

        Raises:
            NoAnswer.
        """
        try:
            found = await self._driver.rows(statement, **values)
        except NoAnswer as error:
            self._breaker.failed(error.__cause__ or error)
            raise
        self._breaker.succeeded()
        return found

    async def close(self) -> None:
        if self._looking:
            await end(self._looking)
        await self._driver.close()
        await self.engine.dispose()
