"""PostgreSQL is brought back to any second, hash-equal, by what is shipped; what is damaged is refused."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from app.commands.backups.kept import Tables
from app.commands.backups.postgres import tables_of
from app.core.config import Settings
from app.core.db import Database
from tests import evidence
from tests.circulation import Library
from tests.integration.backups.cluster import Cluster, archiving
from tests.integration.backups.writing import loans_of, used
from tests.integration.database import many_loans

pytestmark = pytest.mark.anyio

FULL = bool(os.environ.get("FULL"))
# Loans that make a library of about a gigabyte, indexes and all; few of them show the way only.
BIG = 1_300_000 if FULL else 20_000


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # The shipped 30 s take their time; FULL=1 has them.
    with archiving("30s" if FULL else "2s") as running:
        yield running


async def said(settings: Settings, *statements: str) -> None:
    database = Database(settings)
    for statement in statements:
        async with database.transaction() as session:
            await session.execute(text(statement))
    await database.close()


async def fill(settings: Settings) -> None:
    """A few loans to begin with."""
    database = Database(settings)
    library = Library(database)
    reader = await library.reader()
    book = await library.book(copies=5)
    for copy in await library.copies_of(book):
        await library.lend(copy.barcode, reader.card_number, lift=("limit",))
        await library.give_back(copy.barcode)
    await database.close()


def differing(before: Tables, after: Tables) -> list[str]:
    return sorted(name for name in before | after if before.get(name) != after.get(name))


async def test_a_second_before_all_loans_were_deleted_comes_back_hash_equal(cluster: Cluster) -> None:
    settings, library = cluster.settings(), cluster.library()
    async with used(settings) as use:
        # All of this under load.
        full = json.loads(await asyncio.to_thread(library.done, "backup", "run", "--json"))["result"]
        await asyncio.to_thread(library.done, "backup", "mark")
        tried = json.loads(await asyncio.to_thread(library.done, "backup", "test", "--json"))["result"]
        again = json.loads(await asyncio.to_thread(library.done, "backup", "run", "--json"))["result"]
    assert (full["kind"], again["kind"]) == ("full", "incr")
    assert tried["tables"] > 30
    assert "2 backups" in library.done("backup", "check")

    before = await tables_of(settings)
    moment = datetime.now(UTC)
    await asyncio.sleep(1)
    await said(settings, "DELETE FROM scans", "DELETE FROM notices", "DELETE FROM loans", "SELECT pg_switch_wal()")
    assert await loans_of(settings) == set()
    cluster.stop("fast")
    told = json.loads(library.done("restore", "--to", moment.isoformat(" "), "--json"))
    cluster.start()
    # Nothing that was kept of the catalogue may be taken for new: its number is a new one.
    assert differing(before, await tables_of(settings)) == ["generations"]
    assert await loans_of(settings) == {loan for loan, _ in use.confirmed}
    assert not told["violations"]
    assert datetime.fromisoformat(told["reached_at"]) <= moment
    assert told["former"].removeprefix(f"{cluster.data}.before-") in {
        path.suffix.removeprefix(".before-") for path in cluster.folder.iterdir()
    }
    # The service goes on, and so do its backups, on a new branch of time.
    await fill(settings)
    assert json.loads(library.done("backup", "run", "--full", "--json"))["result"]["kind"] == "full"
    library.done("backup", "test")
    evidence.keep(
        "R6", "postgresql", size=f"{told['size_bytes'] / 1e6:.1f} MB, {told['rows']} rows", differing_tables=0,
        restore_seconds=told["seconds"], test_seconds=tried["restore_seconds"], writes_under_backup=len(use.confirmed),
        writes_lost=0,
    )  # fmt: skip


async def test_a_machine_that_is_lost_loses_less_than_the_log_was_kept_late(cluster: Cluster) -> None:
    settings, library = cluster.settings(), cluster.library()
    library.done("backup", "run")
    async with used(settings, until_it_breaks=True) as use:
        await asyncio.sleep(70 if FULL else 8)
        cluster.stop("immediate")  # and its disk with it
        lost_at = datetime.now(UTC)
        (cluster.data / "postmaster.pid").unlink(missing_ok=True)
        began = time.monotonic()
        await asyncio.to_thread(library.done, "restore")
        seconds = time.monotonic() - began
        cluster.start()
    kept = await loans_of(settings)
    missing = [at for loan, at in use.confirmed if loan not in kept and at < lost_at]
    window = (lost_at - min(missing)).total_seconds() if missing else 0.0
    evidence.keep(
        "R6", "a lost machine", value=round(window, 1), limit=60, unit="seconds of work lost (RPO)",
        archive_timeout="30s" if FULL else "2s", restore_seconds=round(seconds, 1),
        size="archive_timeout as shipped" if FULL else "archive_timeout shortened; FULL=1 takes the shipped one",
    )  # fmt: skip
    assert window <= 60


@pytest.mark.timeout(1_800 if FULL else 420)
async def test_a_gigabyte_is_back_within_a_minute(cluster: Cluster) -> None:
    settings, library = cluster.settings(), cluster.library()
    await fill(settings)
    await many_loans.fill(f"{cluster.url}/library", BIG, with_events=True)
    began = time.monotonic()
    await asyncio.to_thread(library.done, "backup", "run")
    backup_seconds = time.monotonic() - began
    before = await tables_of(settings)
    moment = datetime.now(UTC)
    await asyncio.sleep(1)
    await said(settings, "TRUNCATE loans CASCADE", "SELECT pg_switch_wal()")
    cluster.stop("fast")
    began = time.monotonic()
    told = json.loads(library.done("restore", "--to", moment.isoformat(" "), "--json"))
    cluster.start()
    await said(settings, "SELECT 1")
    seconds = time.monotonic() - began
    evidence.keep(
        "R6", "a big library", value=round(seconds, 1), limit=60, unit="seconds until it answers again (RTO)",
        size=f"{told['size_bytes'] / 1e6:.0f} MB, {told['rows']} rows", restore_seconds=told["seconds"],
        backup_seconds=round(backup_seconds, 1),
    )  # fmt: skip
    assert differing(before, await tables_of(settings)) == ["generations"]
    assert seconds <= 60


def _flip(path: Path) -> None:
    """One bit, in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


async def test_what_is_damaged_missing_or_in_use_is_refused_and_nothing_is_touched(cluster: Cluster) -> None:
    settings, library = cluster.settings(), cluster.library()
    assert "There is no backup of this library yet" in library.refused("backup", "test")
    assert "There is no backup yet" in library.refused("backup", "check")
    assert "The database is in use" in library.refused("restore")
    await fill(settings)
    library.done("backup", "run")
    (kept,) = json.loads(library.done("backup", "list", "--json"))
    full_disk(cluster)
    assert json.loads(library.done("backup", "list", "--json")) == [kept]
    library.done("backup", "mark")
    before = await tables_of(settings)

    cluster.stop("fast")
    there = {path: path.stat().st_mtime_ns for path in cluster.data.rglob("*")}
    assert "finished before 2001" in library.refused("restore", "--to", "2001-01-01 00:00:00+00")
    assert "ends before that moment" in library.refused("restore", "--to", "2999-01-01 00:00:00+00")
    assert "time zone" in library.refused("restore", "--to", "2026-01-01 00:00:00", code=2)
    log = max((cluster.repository / "archive").rglob("0*-*"))
    _flip(log)
    assert "the write-ahead log breaks off" in library.refused("restore")
    _flip(log)
    _flip(max((cluster.repository / "backup").rglob("bundle/*"), key=lambda path: path.stat().st_size))
    assert "is damaged and was not restored" in library.refused("restore")
    assert {path: path.stat().st_mtime_ns for path in cluster.data.rglob("*")} == there
    assert sorted(path.name for path in cluster.folder.glob("data*")) == ["data"]
    cluster.start()
    assert "is damaged" in library.refused("backup", "test")
    assert differing(before, await tables_of(settings)) == ["job_runs"]
    evidence.keep("R6", "postgresql", flipped_bytes_refused=2)


def full_disk(cluster: Cluster) -> None:
    """Make a backup on a disk with room for what is there and little more, seen by its maker alone."""
    stanza = cluster.repository / "backup" / "library"
    script = (
        f"cp -a {stanza} {cluster.folder}/copy; room=$(($(du -sk {stanza} | cut -f 1) + 600));"
        f" mount -t tmpfs -o size=${{room}}k,mode=700 tmpfs {stanza}; chown --reference={cluster.data} {stanza};"
        f' cp -a {cluster.folder}/copy/. {stanza}; exec "$@"'
    )
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    within = ["unshare", *root, "--mount", "sh", "-euc", script, "sh"]
    failed = cluster.library().run("backup", "run", "--full", wrapped=within)
    assert failed.returncode == 1
    assert "is there room on its disk?" in failed.stderr
    assert "What was kept before is untouched" in failed.stderr
