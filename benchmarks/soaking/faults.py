"""The faults of a soak: workers killed with SIGKILL at random, PostgreSQL crashed and restarted under way."""

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tests.integration.commands.command_line import children
from tests.servers import Postgres

# The supervisor gives up when a worker ends before it answers, so only those are killed that surely do.
GROWN_UP_SECONDS: Final = 40.0
AWAY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Faults:
    """What is done to a service, and how often it was."""

    supervisor: int
    cluster: Postgres | None
    random: random.Random
    kill_every_seconds: float
    kills: int = 0
    restarts: int = 0
    _born: dict[int, float] = field(default_factory=dict)

    async def kill_workers(self) -> None:
        """Kill one worker after the other, for ever; the first ones have answered already."""
        self._born = dict.fromkeys(children(self.supervisor), -GROWN_UP_SECONDS)
        while True:
            await asyncio.sleep(self.random.uniform(0.5, 1.5) * self.kill_every_seconds)
            now = time.monotonic()
            alive = children(self.supervisor)
            self._born = {pid: self._born.get(pid, now) for pid in alive}
            grown_up = [pid for pid, born in self._born.items() if now - born >= GROWN_UP_SECONDS]
            if grown_up:
                with suppress(ProcessLookupError):
                    os.kill(self.random.choice(grown_up), signal.SIGKILL)
                self.kills += 1

    async def restart_database(self, moments: list[asyncio.Event]) -> None:
        """Crash it at the first moment, restart it at the second, and so on in turn."""
        if self.cluster is None:
            return
        for number, moment in enumerate(moments):
            await moment.wait()
            await asyncio.to_thread(self.cluster.stop, "fast" if number % 2 else "immediate")
            await asyncio.sleep(AWAY_SECONDS)
            await asyncio.to_thread(self.cluster.start, durable=True)
            self.restarts += 1
