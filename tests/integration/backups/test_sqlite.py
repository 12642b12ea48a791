"""SQLite has the same commands: a backup while others write, its check, and a restore by one rename."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.commands.backups.sqlite import tables_of
from app.core.config import Settings
from tests import evidence
from tests.integration.backups.writing import loans_of, used
from tests.integration.commands.command_line import CommandLine

pytestmark = pytest.mark.anyio


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def settings(new_library: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    (tmp_path / "data").mkdir()
    given = {"backup_dir": tmp_path / "kept", "scheduler_enabled": False}
    return new_library(tmp_path / "data").model_copy(update=given)


async def test_a_library_is_brought_back_to_before_its_loans_were_deleted(settings: Settings) -> None:
    library, file = CommandLine.of(settings), settings.data_dir / "library.db"
    async with used(settings) as use:
        await asyncio.to_thread(library.done, "backup", "run")
        tried = json.loads(await asyncio.to_thread(library.done, "backup", "test", "--json"))["result"]
    assert tried["tables"] > 30
    library.done("backup", "run")
    before, moment = tables_of(file), datetime.now(UTC)
    async with used(settings):
        assert "The database is in use" in await asyncio.to_thread(library.refused, "restore")
    told = json.loads(library.done("restore", "--to", moment.isoformat(" "), "--json"))
    after = tables_of(file)
    # That the backup was made is noted once it is made.
    assert {name for name in before if before[name] != after[name]} == {"job_runs", "generations"}
    assert await loans_of(settings) == {loan for loan, _ in use.confirmed}
    assert "1 backups" not in library.done("backup", "check")
    evidence.keep(
        "R6", "sqlite", size=f"{told['size_bytes'] / 1e6:.1f} MB, {told['rows']} rows", differing_tables=0,
        restore_seconds=told["seconds"], writes_under_backup=len(use.confirmed), writes_lost=0,
    )  # fmt: skip


async def test_what_is_damaged_or_missing_is_refused_and_nothing_is_touched(settings: Settings) -> None:
    library, file = CommandLine.of(settings), settings.data_dir / "library.db"
    assert "There is no backup of this library yet" in library.refused("backup", "test")
    library.done("backup", "run")
    (backup,) = (settings.data_dir.parent / "kept" / "sqlite").glob("*.db")
    library.done("migrate")  # leaves the log in the file
    was, kept = file.read_bytes(), bytearray(backup.read_bytes())
    kept[len(kept) // 2] ^= 1
    backup.write_bytes(kept)
    assert "is damaged and was not restored: its checksum" in library.refused("restore")
    assert "is damaged and was not restored: its checksum" in library.refused("backup", "test")
    backup.unlink()
    assert "is missing" in library.refused("restore")
    assert "finished before 2001" in library.refused("restore", "--to", "2001-01-01 00:00:00+00")
    assert not list(settings.data_dir.glob("library.db.*"))
    assert len(was) == file.stat().st_size
    evidence.keep("R6", "sqlite", flipped_bytes_refused=1)


async def test_a_disk_that_is_full_is_told_and_leaves_the_old_backups(settings: Settings) -> None:
    library = CommandLine.of(settings)
    library.done("backup", "run")
    failed = library.run("backup", "run", wrapped=["prlimit", "--fsize=200000"])
    assert failed.returncode == 1
    assert "No backup was made: " in failed.stderr
    assert "What was kept before is untouched" in failed.stderr
    assert len(json.loads(library.done("backup", "list", "--json"))) == 1
    assert len(list((settings.data_dir.parent / "kept" / "sqlite").iterdir())) == 2
    library.done("backup", "test")
