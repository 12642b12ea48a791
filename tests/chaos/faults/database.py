"""Faults of the database and of what stands before it."""

import asyncio
import os
import signal
import subprocess
import time

import psutil

from tests.chaos import inside
from tests.chaos.fault import fault
from tests.chaos.load import Load
from tests.chaos.site import PGBOUNCER_PORT, Site

KILLS, KILLS_FULL = 3, 50
RESTART_GAP_SECONDS = 3.0
HARM_SECONDS = 4.0
HOLDERS = 60
FILLER = "filler"


def psql(site: Site, *statements: str, database: str = "library") -> subprocess.Popen[bytes]:
    """The superuser at the server itself, with these statements one after the other."""
    where = ["psql", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", str(site.cluster.port), "-U", "postgres"]
    commands = [word for statement in statements for word in ("-c", statement)]
    return subprocess.Popen(
        [*where, "-d", database, *commands], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=inside.die_with_parent,  # noqa: PLW1509  # it calls nothing but prctl
    )  # fmt: skip


async def said(process: subprocess.Popen[bytes]) -> str:
    """All that it printed, once it has ended."""
    out, _ = await asyncio.to_thread(process.communicate)
    return out.decode()


def server(site: Site) -> int:
    return int((site.cluster.data / "postmaster.pid").read_text().split()[0])


async def start_again(site: Site) -> None:
    """As whoever watches over it does: until it runs."""
    for _ in range(50):
        try:
            await asyncio.to_thread(site.cluster.start)
        except RuntimeError:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the database did not start again: " + (site.cluster.folder / "log").read_text()[-1_000:])


async def write_gap(load: Load, since: float) -> float:
    """Seconds from `since` to the next write that was acknowledged, whenever it was sent."""
    while True:
        done = [sent.ended for sent in load.town.sent if sent.is_write and not sent.has_failed and sent.ended > since]
        if done:
            return done[0] - since
        await asyncio.sleep(0.02)


@fault("primary killed and started again, several times", may_fail="all", within=3, is_quick=True, lasts=400)
async def primary_killed(site: Site, load: Load) -> str:
    """kill -9 of the server, as often as R5 asks; each time the first write is acknowledged within 3 s."""
    gaps: list[float] = []
    for _ in range(KILLS_FULL if site.is_full else KILLS):
        killed_at = time.monotonic()
        os.kill(server(site), signal.SIGKILL)
        await start_again(site)
        up_at = time.monotonic()
        gaps.append(await write_gap(load, up_at) + up_at - killed_at)
        await asyncio.sleep(0.5)
    site.kills["primary killed"] = gaps
    assert max(gaps) <= RESTART_GAP_SECONDS, f"no write for {max(gaps):.1f} s"
    return f"{len(gaps)} kills, longest without a write {max(gaps):.2f} s"


@fault("primary stopped at once (immediate), started again", may_fail="all", within=3)
async def primary_crashed(site: Site, load: Load) -> None:
    await asyncio.to_thread(site.cluster.stop, "immediate")
    await asyncio.sleep(1)
    await start_again(site)


@fault("primary restarted behind PgBouncer, as planned", is_quick=True)
async def planned_restart(site: Site, load: Load) -> str:
    """PgBouncer holds everybody meanwhile, so nobody is refused."""
    await pgbouncer(site, "PAUSE library")
    paused_at = time.monotonic()
    await asyncio.to_thread(site.cluster.stop, "fast")
    await start_again(site)
    await pgbouncer(site, "RESUME library")
    up_at = time.monotonic()
    gap = await write_gap(load, up_at) + up_at - paused_at
    site.kills["planned restart"] = [gap]
    assert gap <= RESTART_GAP_SECONDS, f"no write for {gap:.1f} s"
    return f"write gap {gap:.2f} s"


async def pgbouncer(site: Site, command: str) -> None:
    where = ["psql", "-q", "-h", "127.0.0.1", "-p", str(PGBOUNCER_PORT), "-U", "library_exporter", "-d", "pgbouncer"]
    password = site.secret("db_exporter_password")
    await asyncio.to_thread(lambda: inside.run(*where, "-c", command, PGPASSWORD=password))


@fault("primary hangs", may_fail="all", within=3)
async def primary_hangs(site: Site, _load: Load) -> None:
    """Nothing is closed, nothing is answered."""
    site.cluster.hang(hanging=True)
    await asyncio.sleep(HARM_SECONDS)
    site.cluster.hang(hanging=False)


@fault("backends ended by an administrator, again and again", may_fail="all")
async def backends_ended(site: Site, _load: Load) -> None:
    for _ in range(5):
        await said(psql(site, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'library_app'"))
        await asyncio.sleep(0.5)


@fault("one backend killed for its memory", may_fail="all", within=3)
async def backend_killed(site: Site, _load: Load) -> None:
    """The kernel takes one process; the server throws everybody out and recovers."""
    pids = "SELECT pid FROM pg_stat_activity WHERE usename = 'library_app' LIMIT 1"
    os.kill(int(await said(psql(site, pids))), signal.SIGKILL)
    await asyncio.sleep(1)


@fault("PgBouncer killed", may_fail="all", within=4)
async def pgbouncer_killed(site: Site, _load: Load) -> None:
    """Whoever keeps it notices within a second."""
    site.parts["pgbouncer"].process.kill()
    await asyncio.sleep(1)


@fault("every connection of the pool taken", may_fail="all", within=3)
async def pool_exhausted(site: Site, _load: Load) -> str:
    """Somebody holds open as many transactions as PgBouncer has connections; who can't get one is told so soon."""
    where = ["psql", "-q", "-h", "127.0.0.1", "-p", str(PGBOUNCER_PORT), "-U", "library_app", "-d", "library"]
    environment = os.environ | {"PGPASSWORD": site.secret("db_app_password")}
    held = [
        await asyncio.create_subprocess_exec(
            *where, "-c", "BEGIN; SELECT pg_sleep(1.8)", "-c", "COMMIT", env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(HOLDERS)
    ]  # fmt: skip
    for each in held:
        await each.wait()
    return f"{len(held)} strangers with a transaction each"


@fault("row locks held by somebody", may_fail="writes")
async def rows_locked(site: Site, load: Load) -> None:
    """Whoever needs them is refused after a second, and nobody else."""
    books = ", ".join(map(str, load.people.books[:5]))
    held = "BEGIN; SELECT count(*) FROM (SELECT 1 FROM books WHERE id IN ({}) FOR UPDATE) AS held; SELECT pg_sleep({})"
    await said(psql(site, held.format(books, HARM_SECONDS)))


@fault("deadlocks with somebody who locks the other way round", may_fail="writes")
async def deadlocks(site: Site, load: Load) -> str:
    """Copies first, then readers: whom the database takes out of a deadlock, sends again."""
    rounds = 6
    everything = "SELECT count(*) FROM (SELECT 1 FROM {} FOR UPDATE) AS held"
    found = 0
    for _ in range(rounds):
        process = psql(
            site,
            f"BEGIN; {everything.format('copies')}; SELECT pg_sleep(0.3); {everything.format('users')}; COMMIT",
        )
        found += "deadlock" in await said(process)
        await asyncio.sleep(0.2)
    log = (site.cluster.folder / "log").read_text()
    return f"{log.count('deadlock detected')} deadlocks, {found} of them ended the stranger's"


@fault("disk of the write-ahead log full", may_fail="all", within=5, is_quick=True)
async def log_full(site: Site, _load: Load) -> str:
    """The server stops itself; with room again and started, nothing that was confirmed is gone."""
    filler = site.cluster.data / "pg_wal" / FILLER
    inside.run("sh", "-c", f"dd if=/dev/zero of={filler} bs=1M 2>/dev/null || true")
    try:
        for _ in range(40):
            await said(psql(site, "SELECT pg_switch_wal()"))
            if "No space left on device" in (site.cluster.folder / "log").read_text():
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the log never noticed that its disk is full")
        await asyncio.sleep(1)
    finally:
        filler.unlink()
    await asyncio.sleep(0.5)
    if not _is_running(site):
        await start_again(site)
        return "the server had ended, and was started again"
    return "the server came back by itself"


def _is_running(site: Site) -> bool:
    file = site.cluster.data / "postmaster.pid"
    return file.exists() and psutil.pid_exists(server(site))


@fault("replica late")
async def replica_late(site: Site, load: Load) -> None:
    """Nobody sees it: what is live is asked of the primary, and the rest when the replica has it all."""
    await _replay(site, "pause")
    await asyncio.sleep(HARM_SECONDS)
    await _replay(site, "resume")


async def _replay(site: Site, verb: str) -> None:
    url = site.replica.url.removeprefix("postgresql://postgres@127.0.0.1:")
    await asyncio.to_thread(
        lambda: inside.run(
            "psql", "-q", "-h", "127.0.0.1", "-p", url, "-U", "postgres", "-d", "postgres",
            "-c", f"SELECT pg_wal_replay_{verb}()",
        )
    )  # fmt: skip


@fault("replica killed, back later")
async def replica_killed(site: Site, _load: Load) -> None:
    await asyncio.to_thread(site.replica.stop, "immediate")
    await asyncio.sleep(HARM_SECONDS)
    await asyncio.to_thread(site.replica.start)
