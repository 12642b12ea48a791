"""What a service holds while it is asked, and whether any of it grows, or is kept when nobody asks any more.

Of each process its memory, files and connections; of its database sessions and locks.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import psutil
from sqlalchemy import text

from app.core.db import Database

MIB: Final = 2**20
MAX_MIB_AN_HOUR: Final = 1.0
# A slope counts from here: pages come and go. What a run of minutes can't tell from noise, one of hours can.
NOISE_MIB: Final = 4.0
WARM_UP_SHARE: Final = 0.25
HOUR_SECONDS: Final = 3_600
# A connection or file that a process may open besides, while it is asked: reconnects, the clock's own.
SPARE: Final = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment; seconds since the watch began."""

    seconds: float
    pid: int
    pss_bytes: int
    files: int
    connections: int


@dataclass(frozen=True, slots=True)
class Held:
    """What the database holds for the service: sessions, transactions left open, locks, and who waits for one."""

    sessions: int
    idle_in_transaction: int
    locks: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Growth:
    """How a process's memory went on after it was warm."""

    pid: int
    first_mib: float
    last_mib: float
    mib_an_hour: float
    hours: float

    @property
    def is_leak(self) -> bool:
        """Steeper than allowed, by more than what comes and goes."""
        return self.mib_an_hour > MAX_MIB_AN_HOUR and self.mib_an_hour * self.hours > NOISE_MIB


def look(service: psutil.Process, began: float) -> list[Sample]:
    """Each process of the service now; one that has just ended is left out."""
    now, found = time.monotonic() - began, []
    for process in (service, *service.children(recursive=True)):
        try:
            with process.oneshot():
                pss = process.memory_full_info().pss
                found.append(Sample(now, process.pid, pss, process.num_fds(), len(process.net_connections())))
        except psutil.Error:
            continue
    return found


async def held(database: Database) -> Held:
    """What every other session of this PostgreSQL database holds; nothing on SQLite, which has no sessions."""
    if database.url.get_backend_name() == "sqlite":
        return Held(0, 0, 0, 0)
    async with database.reading() as session:
        row = (await session.execute(text(
            "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%'),"
            " (SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
            "  WHERE datname = current_database() AND pid <> pg_backend_pid()),"
            " (SELECT count(*) FROM pg_locks WHERE NOT granted)"
            " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ))).one()  # fmt: skip
    return Held(*row)


def growths(samples: Iterable[Sample]) -> list[Growth]:
    """Of each process: a line through what it held after the first quarter, by least squares."""
    by_pid = groupby(sorted(samples, key=lambda each: (each.pid, each.seconds)), key=lambda each: each.pid)
    return [_growth(pid, list(group)) for pid, group in by_pid]


def _growth(pid: int, all_of_it: Sequence[Sample]) -> Growth:
    first, last = all_of_it[0].seconds, all_of_it[-1].seconds
    warm = [each for each in all_of_it if each.seconds >= first + WARM_UP_SHARE * (last - first)]
    mean_x = sum(each.seconds for each in warm) / len(warm)
    mean_y = sum(each.pss_bytes for each in warm) / len(warm)
    spread = sum((each.seconds - mean_x) ** 2 for each in warm)
    together = sum((each.seconds - mean_x) * (each.pss_bytes - mean_y) for each in warm)
    slope = together / spread if spread else 0.0
    return Growth(
        pid,
        first_mib=round(all_of_it[0].pss_bytes / MIB, 1),
        last_mib=round(all_of_it[-1].pss_bytes / MIB, 1),
        mib_an_hour=round(slope * HOUR_SECONDS / MIB, 2),
        hours=(warm[-1].seconds - warm[0].seconds) / HOUR_SECONDS,
    )


def leaks(
    samples: Sequence[Sample],
    calm: tuple[Sequence[Sample], Held],
    after: tuple[Sequence[Sample], Held],
    *,
    pool: int = 0,
) -> list[str]:
    """What is wrong: memory that grows, files and connections that stay when all is calm again, locks that are kept.

    `calm` was seen when the service was warm and nobody asked, `after` when nobody asked any more. Meanwhile a
    worker may fill its `pool` of connections to the database: it opens them as they are needed, and keeps them.
    """
    found = [
        f"process {each.pid} grows by {each.mib_an_hour} MiB an hour: {each.first_mib} → {each.last_mib} MiB"
        for each in growths(samples)
        if each.is_leak
    ]
    before = {each.pid: each for each in calm[0]}
    room = {pid: max(0, pool - was.connections if was.connections else 0) + SPARE for pid, was in before.items()}
    for each in after[0]:
        was = before.get(each.pid)
        if was is None:
            found.append(f"process {each.pid} was not there before: one was replaced")
            continue
        if each.files > was.files + room[each.pid]:
            found.append(f"process {each.pid} keeps {each.files} files open, {was.files} before")
        if each.connections > was.connections + room[each.pid]:
            found.append(f"process {each.pid} keeps {each.connections} connections, {was.connections} before")
    database = after[1]
    if database.sessions > calm[1].sessions + sum(room.values()):
        found.append(f"{database.sessions} sessions of the database are kept, {calm[1].sessions} before")
    if database.idle_in_transaction or database.locks or database.waiting:
        found.append(f"the database holds something for nobody: {database}")
    return found
