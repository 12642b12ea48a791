"""Faults of operation: schedulers too many, none, late; jobs killed; backups; a schema that changes under load."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from app.jobs.registry import JOBS
from tests.chaos.fault import fault
from tests.chaos.faults.database import psql, said
from tests.chaos.load import Load
from tests.chaos.site import Site
from tests.integration.commands.command_line import COMMAND

HARM_SECONDS = 6.0
KILLED_JOBS = ("expire_holds", "count_popularity", "invariants", "send_notices")
KILLED_AFTER = (1.0, 1.6, 2.4)
COLUMN = "ALTER TABLE loans ADD COLUMN shelf text"
INDEX = "CREATE INDEX CONCURRENTLY ix_loans_shelf ON loans (shelf, due_at)"


@fault("two schedulers, then none, then one that is late", lasts=90)
async def schedulers(site: Site, _load: Load) -> str:
    """Each run is claimed by one; with none nothing of the library's is lost but time."""
    second = site.start_scheduler("scheduler-2")
    await asyncio.sleep(HARM_SECONDS)
    for part in (second, site.parts["scheduler"]):
        code = await part.end()
        assert code == 0, part.last_words()
    del site.parts["scheduler-2"]
    await asyncio.sleep(HARM_SECONDS / 2)
    site.start_scheduler()
    job, after = "run_imports", time.time()
    while time.time() - after < HARM_SECONDS * 4:
        runs = await asyncio.to_thread(site.library.done, "job", "list", "--json")
        last = next(each["last_success_at"] for each in json.loads(runs) if each["name"] == job)
        if last and last > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(after)):
            return f"{job} ran again after {time.time() - after:.0f} s"
    raise AssertionError(f"{job} was not run by the scheduler that came back")


@fault("jobs killed half-way", is_quick=True, lasts=120)
async def jobs_killed(site: Site, _load: Load) -> str:
    """Whatever was done stays done, and the next run does the rest."""
    environment = site.environment(DATA_DIR=str(site.folder / "scheduler"))
    jobs = KILLED_JOBS if site.is_full else KILLED_JOBS[:2]
    for name in jobs:
        assert name in JOBS
        for after in KILLED_AFTER if site.is_full else KILLED_AFTER[1:2]:
            part = site.start("job", [*COMMAND, "job", "run", name], environment)
            await asyncio.sleep(after)
            await part.end(signal.SIGKILL)
    whole = site.start("job", [*COMMAND, "job", "run", jobs[0]], environment)
    code = await asyncio.to_thread(whole.process.wait, 60)
    del site.parts["job"]
    assert code == 0, whole.last_words()
    return f"{', '.join(jobs)} killed"


@fault("backup under load", lasts=240)
async def backed_up(site: Site, _load: Load) -> str:
    """Nobody waits for it; it is checked, and restored beside the database."""
    began = time.monotonic()
    made = json.loads(await asyncio.to_thread(site.library.done, "backup", "run", "--json"))["result"]
    seconds = time.monotonic() - began
    tried = json.loads(await asyncio.to_thread(site.library.done, "backup", "test", "--json"))["result"]
    return f"{made['kind']} in {seconds:.1f} s; restored beside it in {tried['restore_seconds']:.1f} s"


@fault("a flipped bit in a backup", lasts=240)
async def backup_damaged(site: Site, _load: Load) -> str:
    """It is refused, and what is there stays as it is."""
    await asyncio.to_thread(site.library.done, "backup", "run", "--full")
    bundles = (site.cluster.repository / "backup").rglob("bundle/*")
    largest = max(bundles, key=lambda path: path.stat().st_mtime)
    _flip(largest)
    told = await asyncio.to_thread(site.library.run, "backup", "test")
    _flip(largest)
    assert told.returncode == 1, "a damaged backup was taken for sound"
    assert "is damaged" in told.stderr, told.stderr
    return "refused"


def _flip(path: Path) -> None:
    """One bit, in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@fault("schema widened under load")
async def schema_widened(site: Site, _load: Load) -> None:
    """As a migration does it: short locks, asked for again when they can't be had; then an index beside the writers."""
    for _ in range(50):
        told = await said(psql(site, "SET lock_timeout = '200ms'", COLUMN))
        if "canceling statement" not in told:
            break
        await asyncio.sleep(0.2)
    told += await said(psql(site, INDEX))
    assert not told.strip(), told
    await said(psql(site, "DROP INDEX CONCURRENTLY ix_loans_shelf"))
    await said(psql(site, "SET lock_timeout = '200ms'", "ALTER TABLE loans DROP COLUMN shelf"))
