"""The shipped PostgreSQL files: who may do what, what a commit is worth, and a replica that follows."""

import json
import subprocess
import time

import pytest

from tests.integration.stack.compose import ROOT
from tests.integration.stack.running import Stack

WRITE = "INSERT INTO branches (code) VALUES ('x')"


def ask(stack: Stack, role: str, statement: str, *, service: str = "db", port: int = 5432) -> tuple[int, str]:
    """A statement as one of the roles, over the network and by its password."""
    password = (stack.folder / "secrets" / f"db_{role}_password").read_text()
    url = f"postgresql://library_{role}:{password}@{stack.running[service].address}:{port}/library"
    done = subprocess.run(["psql", url, "-X", "-Atc", statement], capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_the_service_can_use_rows_but_not_change_a_table(stack: Stack) -> None:
    assert ask(stack, "app", "SELECT count(*) >= 0 FROM books") == (0, "t")
    for statement in ("CREATE TABLE x ()", "DROP TABLE books", "TRUNCATE loans", "ALTER TABLE books ADD x int"):
        code, said = ask(stack, "app", statement)
        assert code
        assert "permission denied" in said or "must be owner" in said


def test_who_reads_never_writes(stack: Stack) -> None:
    assert ask(stack, "readonly", "SELECT count(*) >= 0 FROM loans") == (0, "t")
    for statement in ("DELETE FROM books", "SET default_transaction_read_only = off; DELETE FROM books"):
        assert ask(stack, "readonly", statement)[0]


def test_the_exporter_sees_figures_and_no_rows(stack: Stack) -> None:
    assert ask(stack, "exporter", "SELECT count(*) > 0 FROM pg_stat_replication") == (0, "t")
    assert ask(stack, "exporter", "SELECT 1 FROM users")[0]


def test_the_superuser_never_comes_over_the_network(stack: Stack) -> None:
    assert ask(stack, "superuser", "SELECT 1")[0]


@pytest.mark.parametrize("role", ["app", "migrate"])
def test_a_commit_is_on_disk(stack: Stack, role: str) -> None:
    for setting in ("synchronous_commit", "fsync", "full_page_writes", "data_checksums"):
        assert ask(stack, role, f"SHOW {setting}") == (0, "on")


def test_nothing_shipped_turns_durability_off() -> None:
    names = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    texts = {
        name: (ROOT / name).read_text(errors="ignore")
        for name in names
        if name.endswith((".conf", ".sql", ".yml", ".ini"))
    }
    assert not [name for name, text in texts.items() if "synchronous_commit = off" in text or "fsync = off" in text]


def test_the_limits_hold_behind_pgbouncer(stack: Stack) -> None:
    said = ask(stack, "app", "SHOW statement_timeout", service="pgbouncer", port=6432)
    assert said == (0, "2s")


def test_records_are_taken_in_behind_pgbouncer(stack: Stack) -> None:
    """Both processes of an import in the image, where nothing is writable but /tmp; COPY by the role of the service."""
    api = stack.running["api-1"]
    words = "printf 'id,title\\n1,Emma\\n2,Persuasion\\n' > /tmp/two.csv && library catalog import --json /tmp/two.csv"
    for verdict in ("imported", "unchanged"):
        done = api.run("sh", "-c", words)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[verdict] == 2


def test_the_replica_follows_the_primary(stack: Stack) -> None:
    statement = "SELECT pg_is_in_recovery(), count(*) FROM alembic_version"
    deadline = time.monotonic() + 20
    while ask(stack, "app", statement, service="replica") != (0, "t|1"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_backup_that_was_made_at_the_start_can_be_restored(stack: Stack) -> None:
    backup = stack.running["backup"]
    assert backup.run("library", "backup", "mark").returncode == 0
    tried = backup.run("library", "backup", "test")
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "restore_test: backup" in tried.stdout
