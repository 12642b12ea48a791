"""Faults of a machine's clock: it jumps, and passes into summer time. The database's clock is the one that counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chaos.fault import fault
from tests.chaos.load import Load
from tests.chaos.site import USUAL, Site

HARM_SECONDS = 4.0
START_SECONDS = 20.0
JUMPS = ("+30m", "-30m", "+2h", "+0")


@asynccontextmanager
async def a_third_service(site: Site, **changes: str) -> AsyncIterator[None]:
    """Beside the two, answering a third of what is asked."""
    part = await site.start_service("api-3", **changes)
    site.members(*USUAL, "api-3")
    try:
        yield
    finally:
        site.members(*USUAL)
        await asyncio.sleep(1)
        code = await part.end()
        del site.parts["api-3"]
    assert code == 0, part.last_words()


def _faketime() -> Path:
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return library


@fault("clock of one machine jumps half an hour and two hours", lasts=120)
async def clock_jumps(site: Site, _load: Load) -> str:
    told = site.folder / "clock"
    told.write_text("+0")
    by = {"LD_PRELOAD": str(_faketime()), "FAKETIME_TIMESTAMP_FILE": str(told), "FAKETIME_NO_CACHE": "1"}
    async with a_third_service(site, **by, FAKETIME_DONT_FAKE_MONOTONIC="1"):
        for jump in JUMPS:
            told.write_text(jump)
            await asyncio.sleep(HARM_SECONDS / 2)
    return "by " + ", ".join(JUMPS)


@fault("clock of one machine passes into summer time", lasts=120)
async def summer_time(site: Site, _load: Load) -> str:
    """Its zone's rule says so for a moment under the load; what is stored is UTC."""
    begins = datetime.now(UTC) + timedelta(seconds=START_SECONDS)
    ends = begins + timedelta(days=1)
    rule = f"WIN0SUM,J{_day(begins)}/{begins:%H:%M:%S},J{_day(ends)}/{ends:%H:%M:%S}"
    async with a_third_service(site, TZ=rule):
        left = (begins - datetime.now(UTC)).total_seconds()
        assert left > 0, "it was not up before the hour changed"
        await asyncio.sleep(left + HARM_SECONDS / 2)
    return rule


def _day(instant: datetime) -> int:
    """The day of the year as POSIX counts it: 1 to 365, the 29th of February left out."""
    return instant.replace(year=2027).timetuple().tm_yday
