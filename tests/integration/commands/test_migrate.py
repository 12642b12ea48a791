"""`library migrate`: to the newest and back, again, by several at once, and on what can't be migrated."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.revision import newest
from tests.conftest import SECRET
from tests.integration.commands.command_line import CommandLine


def test_an_empty_database_is_brought_to_the_newest_and_stays_there(unmigrated: CommandLine) -> None:
    assert unmigrated.done("migrate") == f"The database went from empty to {newest()}.\n"
    assert unmigrated.done("migrate") == f"The database stands at {newest()}; there was nothing to do.\n"


def test_several_at_once_do_the_work_once(unmigrated: CommandLine) -> None:
    running = [unmigrated.start("migrate") for _ in range(3)]
    said = sorted(process.communicate(timeout=60)[0] for process in running)
    assert [process.returncode for process in running] == [0, 0, 0], said
    worked = [line for line in said if "went from empty" in line]
    assert len(worked) >= 1
    assert unmigrated.done("migrate") == f"The database stands at {newest()}; there was nothing to do.\n"


def test_going_back_needs_to_be_asked_for_twice(unmigrated: CommandLine) -> None:
    unmigrated.done("migrate")
    complaint = unmigrated.refused("migrate", "--revision", "0001")
    assert complaint.startswith(f"The database stands at {newest()}. Going back to 0001 deletes")
    assert unmigrated.done("migrate", "--revision", "0001", "--down") == f"The database went from {newest()} to 0001.\n"
    assert unmigrated.done("migrate") == f"The database went from 0001 to {newest()}.\n"


def test_an_unknown_revision_is_refused_with_those_there_are(unmigrated: CommandLine) -> None:
    assert "There is no migration 9999; this release has 0001" in unmigrated.refused("migrate", "--revision", "9999")


@pytest.mark.anyio
async def test_a_database_of_a_newer_release_is_left_as_it_is(library: CommandLine, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert library.done("migrate") == (
        "The database stands at 9999, made by a newer release; this one serves it as it is.\n"
    )


def test_commands_on_a_database_without_tables_say_to_migrate(unmigrated: CommandLine) -> None:
    sentence = f"The database is empty and this release needs {newest()}. Run `library migrate` first.\n"
    for command in (["user", "list"], ["seed"], ["catalog", "reindex"], ["serve", "--port", "0"]):
        assert unmigrated.refused(*command) == sentence, command


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://library:hidden@127.0.0.1:1/library", "Connect call failed"),
        ("postgresql://library:hidden@nowhere.invalid/library", "Name or service not known"),
        ("postgresql://library:hidden@127.0.0.1:port/library", "invalid literal"),
        ("postgresql://library:hidden@127.0.0.1:1/library?sslmode=perhaps", "sslmode"),
    ],
)
def test_a_server_that_cant_be_reached_is_told_with_what_to_check(bare: CommandLine, url: str, reason: str) -> None:
    complaint = bare.refused("migrate", DATABASE_URL=url, SECRET_KEY=SECRET)
    assert reason in complaint
    assert complaint.startswith("The database postgresql://library:********@")
    assert complaint.endswith("Check DATABASE_URL, and that the server runs and lets this user in.\n")
    assert "hidden" not in complaint


def test_a_database_or_user_that_is_not_there_is_told(bare: CommandLine, postgres_url: str) -> None:
    complaint = bare.refused("migrate", DATABASE_URL=f"{postgres_url}/nothere", SECRET_KEY=SECRET)
    assert 'can\'t be used: database "nothere" does not exist.' in complaint
    stranger = postgres_url.replace("postgres@", "stranger@")
    complaint = bare.refused("migrate", DATABASE_URL=f"{stranger}/postgres", SECRET_KEY=SECRET)
    assert 'role "stranger" does not exist' in complaint


def test_a_file_that_is_no_database_is_told(bare: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "library.db").write_text("minutes of the meeting\n" * 100)
    complaint = bare.refused("migrate", DATA_DIR=str(tmp_path))
    assert complaint == (
        f"The database {tmp_path / 'library.db'} can't be used: file is not a database.\n"
        "Check that its folder exists and belongs to this user, and that the file is an SQLite database.\n"
    )
    assert (tmp_path / "library.db").read_text().startswith("minutes of the meeting")


def test_a_folder_that_cant_be_made_is_told(bare: CommandLine) -> None:
    assert "can't be used: No such file or directory" in bare.refused("migrate", DATA_DIR="/proc/library")


def test_a_locked_database_is_told(bare: CommandLine, sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "library.db")
    with closing(sqlite3.connect(tmp_path / "library.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        complaint = bare.refused(
            "user", "create", "--email", "a@library.test", "--role", "admin", DATA_DIR=str(tmp_path)
        )
    assert "can't be used: database is locked" in complaint
    assert complaint.endswith("Another program is writing to it; try again when that has finished.\n")
