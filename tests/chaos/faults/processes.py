"""Faults of our own processes: killed, stopped, ended, ended while they start."""

import asyncio
import os
import random
import signal
import time

from tests.chaos.fault import fault
from tests.chaos.load import Load
from tests.chaos.site import USUAL, Site

BLOCKED_SECONDS = 4.0
STARTS = (0.2, 0.6, 1.2, 2.0)
LONGEST_STOP_SECONDS = 15.0


@fault("worker killed in the middle of requests", may_fail="writes", is_quick=True)
async def worker_killed(site: Site, _load: Load) -> None:
    """Its supervisor starts another one; a GET under way is asked of another by the proxy, a POST by its sender."""
    os.kill(random.choice(site.workers()), signal.SIGKILL)
    await asyncio.sleep(2)


@fault("worker's loop blocked", may_fail="writes")
async def worker_blocked(site: Site, _load: Load) -> None:
    """Whom it has accepted waits, and who needs a row that it has locked is refused; all others are answered."""
    worker = random.choice(site.workers())
    os.kill(worker, signal.SIGSTOP)
    await asyncio.sleep(BLOCKED_SECONDS)
    os.kill(worker, signal.SIGCONT)


@fault("SIGTERM under load, unannounced", may_fail="writes", restarts=True)
async def service_ended(site: Site, _load: Load) -> str:
    """It finishes what it has begun, and ends by itself."""
    began = time.monotonic()
    code = await site.parts["api-2"].end()
    seconds = time.monotonic() - began
    assert code == 0, f"it ended with {code}: {site.parts['api-2'].last_words()}"
    await site.start_service("api-2")
    return f"ended in {seconds:.1f} s"


@fault("SIGTERM during start-up")
async def ended_at_start(site: Site, _load: Load) -> str:
    """Whenever it comes, the process ends soon and harms nobody."""
    longest = 0.0
    for after in STARTS:
        part = site.begin_service("api-3")
        await asyncio.sleep(after)
        began = time.monotonic()
        code = await part.end()
        longest = max(longest, time.monotonic() - began)
        assert code in {0, -signal.SIGTERM, 128 + signal.SIGTERM}, f"{after} s after its start: {part.last_words()}"
    del site.parts["api-3"]
    assert longest <= LONGEST_STOP_SECONDS, f"one needed {longest:.1f} s to end"
    return f"the longest took {longest:.1f} s"


@fault("service killed for its memory, started again", may_fail="writes", restarts=True)
async def service_killed(site: Site, _load: Load) -> None:
    """What the kernel does to a container that is over its limit, and the engine afterwards."""
    await site.parts["api-2"].end(signal.SIGKILL)
    await asyncio.sleep(1)
    await site.start_service("api-2")


@fault("rolling restart with new signing keys", restarts=True, lasts=150)
async def keys_rotated(site: Site, load: Load) -> None:
    """One after the other, out of the proxy's sight first; who is signed in stays so."""
    old, new = site.secret("secret_key"), "rotated-" + site.secret("secret_key")[::-1]
    token = next(iter(load.people.readers.values()))
    for name in USUAL:
        site.members(*(other for other in USUAL if other != name))
        await asyncio.sleep(1)
        assert await site.parts[name].end() == 0, site.parts[name].last_words()
        await site.start_service(name, SECRET_KEY=new, SECRET_KEYS_OLD=old)
        site.members(*USUAL)
        await asyncio.sleep(0.5)
    answer = await load.town.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.is_success, f"who was signed in before the keys changed got {answer.status_code}"
