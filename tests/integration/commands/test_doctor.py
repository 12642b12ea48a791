"""`library doctor`: well when all is well, and each fault found, named and told how to mend."""

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from app.commands.diagnosis import machine, servers
from app.commands.diagnosis.findings import State
from app.core.db import Database
from app.core.revision import newest
from tests.conftest import SECRET
from tests.integration.commands.command_line import ROOT, CommandLine
from tests.servers import free_port


def findings(library: CommandLine, *, code: int = 0, **settings: str) -> dict[str, list[tuple[str, str]]]:
    """(state, detail) by check."""
    result = library.run("doctor", "--json", **settings)
    assert (result.returncode, result.stderr) == (code, "")
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(result.stdout):
        found.setdefault(finding["check"], []).append((finding["state"], finding["detail"]))
    return found


def test_a_library_in_order_has_no_error(library: CommandLine, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    found = findings(library)
    assert set(found) == {
        "settings", "env file", "data folder", "secret key", "storage", "clock", "docs", "database", "migrations",
        "scheduler", "cache", "mail", "files", *(["connections"] if "DATABASE_URL" in library.settings else []),
    }  # fmt: skip
    unwell = {check for check, told in found.items() if any(state != "ok" for state, _ in told)}
    assert unwell <= {"docs", "storage"}  # the scripts may not be installed, the disk of a test machine may be full
    assert found["migrations"] == [("ok", f"The database stands at {newest()}.")]
    assert ("PostgreSQL" if "DATABASE_URL" in library.settings else "SQLite") in found["database"][0][1]
    table = library.done("doctor")
    assert all(check in table for check in found)


def test_a_place_without_anything_is_no_error_and_stays_so(bare: CommandLine) -> None:
    found = findings(bare)
    assert "is not there yet; the first start makes it." in found["data folder"][0][1]
    assert found["database"] == [("warning", "There is no database yet. Make it with: library migrate")]
    assert found["settings"][1] == (
        "warning",
        "PUBLIC_URL is not set: links point to this machine. Set it to the address that readers use.",
    )
    assert not list(bare.folder.iterdir())


def test_settings_that_cant_be_used_are_an_error(bare: CommandLine) -> None:
    found = findings(bare, code=1, DATABSE_URL="x")
    assert found == {
        "settings": [("error", "DATABSE_URL is set, but there is no such setting; did you mean DATABASE_URL?")]
    }


def test_pending_migrations_are_an_error(unmigrated: CommandLine) -> None:
    if "DATABASE_URL" not in unmigrated.settings:
        with closing(sqlite3.connect(unmigrated.folder / "library.db")):
            pass
    assert findings(unmigrated, code=1)["migrations"] == [
        ("error", f"The database is empty, this release needs {newest()}. Mend it with: library migrate")
    ]


@pytest.mark.anyio
async def test_a_newer_database_is_a_warning(library: CommandLine, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    [(state, detail)] = findings(library)["migrations"]
    assert state == "warning"
    assert "made by a newer release" in detail


def test_more_connections_than_the_server_lets_in_are_a_warning(library: CommandLine) -> None:
    if "DATABASE_URL" not in library.settings:
        assert "connections" not in findings(library, DATABASE_CONNECTIONS="3000", WEB_CONCURRENCY="250")
        return
    [(state, detail)] = findings(library, DATABASE_CONNECTIONS="3000", WEB_CONCURRENCY="250")["connections"]
    assert state == "warning"
    assert detail.startswith("The workers hold up to 3000 connections, but the server lets in 19")


def test_a_replica_that_is_none_is_an_error_and_one_that_is_away_a_warning(library: CommandLine) -> None:
    url = library.settings.get("DATABASE_URL")
    if not url:
        result = library.run("doctor", DATABASE_REPLICA_URL="postgresql://a:hidden@127.0.0.1:1/library")
        assert "which must be PostgreSQL then" in result.stdout
        return
    assert "replica" not in findings(library)
    [(state, detail)] = findings(library, code=1, DATABASE_REPLICA_URL=url)["replica"]
    assert (state, "is no replica, but a database of its own" in detail) == ("error", True)
    away = "postgresql://a:hidden@127.0.0.1:1/library"
    [(state, detail)] = findings(library, DATABASE_REPLICA_URL=away)["replica"]
    assert (state, "the database itself is asked for everything" in detail) == ("warning", True)
    assert "hidden" not in detail


def test_a_database_that_cant_be_reached_is_an_error(bare: CommandLine) -> None:
    found = findings(bare, code=1, SECRET_KEY=SECRET, DATABASE_URL="postgresql://a:hidden@127.0.0.1:1/library")
    [(state, detail)] = found["database"]
    assert state == "error"
    assert "Check DATABASE_URL" in detail
    assert "hidden" not in detail
    assert "migrations" not in found


def test_a_secret_that_others_can_read_is_an_error(bare: CommandLine) -> None:
    bare.done("migrate")
    with bare.serving():
        pass
    secret = bare.folder / "data" / "secret_key"
    assert findings(bare)["secret key"] == [("ok", f"{secret}, for this user alone.")]
    secret.chmod(0o644)
    [(state, detail)] = findings(bare, code=1)["secret key"]
    assert state == "error"
    assert f"(mode 0644) and could sign in as anybody. Mend it with: chmod 600 {secret}" in detail


def test_a_secret_that_was_not_changed_for_more_than_a_year_is_a_warning(bare: CommandLine) -> None:
    file = bare.folder / "given"
    file.write_text("x" * 20)
    assert findings(bare, METRICS_TOKEN_FILE=str(file))["secrets"] == [
        ("ok", "1 from files, none older than 365 days.")
    ]
    written = time.time() - 366 * 24 * 60 * 60
    os.utime(file, (written, written))
    [(state, detail)] = findings(bare, METRICS_TOKEN_FILE=str(file))["secrets"]
    assert (state, detail.partition(":")[0]) == ("warning", "METRICS_TOKEN")


def test_a_data_folder_that_others_can_look_into_is_a_warning(library: CommandLine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    [(state, detail)] = findings(library)["data folder"]
    if "DATABASE_URL" in library.settings:
        assert state == "ok"
    else:
        assert state == "warning"
        assert detail.endswith(f"Mend it with: chmod 700 {tmp_path}")


def test_a_data_folder_that_is_none_or_cant_be_made_is_an_error(bare: CommandLine) -> None:
    (bare.folder / "file").touch()
    [(state, detail)] = findings(bare, code=1, DATA_DIR="file")["data folder"]
    assert (state, detail) == ("error", f"{bare.folder / 'file'} is not a folder. Set DATA_DIR to one.")


def test_several_workers_without_redis_are_told_to_count_each_for_itself(library: CommandLine) -> None:
    [(state, detail)] = findings(library, WEB_CONCURRENCY="3")["cache"]
    assert state == "warning"
    assert "may send up to 3 times what they say" in detail


def test_a_redis_that_answers_is_well_and_one_that_does_not_is_an_error(bare: CommandLine, redis_url: str) -> None:
    assert findings(bare, WEB_CONCURRENCY="3", REDIS_URL=redis_url)["cache"][0][0] == "ok"
    [(state, detail)] = findings(bare, code=1, REDIS_URL=f"redis://:hidden@127.0.0.1:{free_port()}/0")["cache"]
    assert state == "error"
    assert "Check REDIS_URL" in detail
    assert "hidden" not in detail


def test_letters_that_nobody_gets_are_told_in_production(bare: CommandLine) -> None:
    assert findings(bare)["mail"][0][0] == "warning"
    assert findings(bare, ENVIRONMENT="development")["mail"][0][0] == "ok"


def test_a_mail_server_that_does_not_answer_is_an_error(bare: CommandLine) -> None:
    given = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(free_port()), "EMAIL_FROM": "library@library.test"}
    [(state, detail)] = findings(bare, code=1, **given)["mail"]
    assert state == "error"
    assert "Check SMTP_HOST, SMTP_PORT, SMTP_TLS, SMTP_USER and SMTP_PASSWORD." in detail


def test_a_bucket_that_cant_be_used_is_an_error(bare: CommandLine) -> None:
    given = {"STORAGE_URL": f"s3://key:canary@bucket?endpoint=http://127.0.0.1:{free_port()}"}
    [(state, detail)] = findings(bare, code=1, **given)["files"]
    assert state == "error"
    assert "STORAGE_URL" in detail
    assert "canary" not in detail


def test_jobs_that_nobody_runs_are_told(library: CommandLine) -> None:
    [(state, detail)] = findings(library, SCHEDULER_ENABLED="false")["scheduler"]
    assert state == "warning"
    assert detail.endswith("Start: library scheduler")
    library.done("job", "run", "purge_sessions")
    assert findings(library, SCHEDULER_ENABLED="false")["scheduler"] == [
        ("ok", "Jobs are run by a process of their own.")
    ]


def test_composes_env_file_is_told_not_to_be_read(bare: CommandLine) -> None:
    (bare.folder / ".env").write_text("PORT=1\n")
    [(state, detail)] = findings(bare)["env file"]
    assert state == "warning"
    assert ".env is here, but the service doesn't read it" in detail
    (bare.folder / "library.env").write_text("PORT=1\n")
    (bare.folder / "library.env").chmod(0o644)
    [(state, detail)] = findings(bare)["env file"]
    assert state == "warning"
    assert detail.endswith("chmod 640 library.env")
    (bare.folder / "library.env").chmod(0o640)
    assert findings(bare)["env file"] == [("ok", "library.env is read.")]


def test_a_service_for_the_network_that_takes_no_requests_from_it_is_told(bare: CommandLine) -> None:
    found = findings(bare, HOST="0.0.0.0", PUBLIC_URL="http://localhost")["settings"]
    assert found[1][0] == "warning"
    assert "name the host in ALLOWED_HOSTS" in found[1][1]
    assert len(findings(bare, HOST="0.0.0.0", PUBLIC_URL="https://library.test")["settings"]) == 1


def test_a_clock_before_the_release_is_an_error(bare: CommandLine) -> None:
    release = bare.folder / "release"
    for part in ("app", "alembic"):
        shutil.copytree(ROOT / part, release / part, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    made_at = time.time() + 10 * 86_400
    os.utime(release / "alembic" / "versions" / "0001_foundation.py", (made_at, made_at))
    [(state, detail)] = findings(bare, code=1, PYTHONPATH=str(release))["clock"]
    assert state == "error"
    assert "before this release was made" in detail


@pytest.mark.anyio
async def test_a_database_clock_that_differs_is_an_error(library: CommandLine, database: Database) -> None:
    if database.is_sqlite:
        assert len(findings(library)["clock"]) == 1  # it reads this machine's clock
        return
    async with database.transaction() as session:
        await session.execute(
            text(
                "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
                " AS $$ SELECT pg_catalog.clock_timestamp() - interval '90 s' $$"
            )
        )
        await session.execute(text(f"ALTER DATABASE {database.url.database} SET search_path = public, pg_catalog"))
    [_, (state, detail)] = findings(library, code=1)["clock"]
    assert state == "error"
    assert detail.startswith("The database's clock is 90 s behind this machine's.")


@pytest.mark.parametrize(
    ("found", "needed", "state"),
    [
        ((14, 11), servers.MIN_POSTGRES, State.ERROR),
        ((15, 0), servers.MIN_POSTGRES, State.OK),
        ((3, 39, 4), servers.MIN_SQLITE, State.ERROR),
        ((3, 40, 0), servers.MIN_SQLITE, State.OK),
        ((3, 100, 1), servers.MIN_SQLITE, State.OK),
    ],
)
def test_an_old_database_is_an_error(found: tuple[int, ...], needed: tuple[int, ...], state: State) -> None:
    assert servers.judge_version("It", found, needed).state is state


@pytest.mark.parametrize(
    ("free_bytes", "total_bytes", "state"),
    [
        (50_000_000, 10**12, State.ERROR),
        (500_000_000, 10**9, State.WARNING),
        (10**11, 10**12, State.WARNING),
        (5 * 10**11, 10**12, State.OK),
    ],
)
def test_a_disk_that_fills_up_is_told(free_bytes: int, total_bytes: int, state: State) -> None:
    assert machine.judge_space(free_bytes, total_bytes).state is state
