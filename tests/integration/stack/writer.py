"""A writer who numbers his writes, never writes one twice, and keeps a ledger of those that were acknowledged."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

import asyncpg

TABLE: Final = "CREATE TABLE written (number bigint NOT NULL)"
WRITE: Final = "INSERT INTO written VALUES ($1)"
PAUSE_SECONDS: Final = 0.02
ANSWER_SECONDS: Final = 2.0
# Of the last: what the driver calls a connection on which its end was told while nobody asked anything.
LOST: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass
class Writer:
    """Writes to one address, with one connection after the other, from `first` on."""

    url: str
    first: int = 0
    witness: Callable[[], str] = str
    """What to tell besides when nothing is written any more."""
    acknowledged: list[tuple[int, float]] = field(default_factory=list)
    """Number, and when the answer came."""
    in_doubt: int = 0
    reason: str = ""
    _is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def gap_seconds(self, since: float) -> float:
        """The longest time without an acknowledged write since then."""
        times = [at for _, at in self.acknowledged if at >= since]
        return max(later - earlier for earlier, later in zip([since, *times], times, strict=False))

    def wait_for_one(self, since: float, seconds: float = 60) -> None:
        """Return once something was acknowledged that was sent after `since`."""
        deadline = time.monotonic() + seconds
        while not self.acknowledged or self.acknowledged[-1][1] < since + ANSWER_SECONDS / 10:
            assert time.monotonic() < deadline, f"nothing is written any more: {self.reason} {self.witness()}"
            time.sleep(0.05)

    async def _work(self) -> None:
        number, connection = self.first, None
        while not self._is_over.is_set():
            number += 1
            try:
                if connection is None:
                    connection = await asyncpg.connect(self.url, timeout=ANSWER_SECONDS, statement_cache_size=0)
                await connection.execute(WRITE, number, timeout=ANSWER_SECONDS)
                self.acknowledged.append((number, time.monotonic()))
            except LOST as error:
                self.in_doubt += 1
                self.reason = f"{type(error).__name__}: {error}"
                if connection is not None:
                    connection.terminate()
                    connection = None
            await asyncio.sleep(PAUSE_SECONDS)
        if connection is not None:
            with suppress(*LOST):
                await connection.close(timeout=1)
