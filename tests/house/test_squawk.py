"""The SQL that the migrations send to PostgreSQL, read by squawk: nothing that would make a library in use wait."""

import asyncio
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, event

from app.core import migrations
from app.core.db import Database
from app.core.engines import FOR_MIGRATIONS
from app.core.revision import VERSIONS
from tests.conftest import _administer, _settings

ROOT = Path(__file__).resolve().parents[2]
EXCEPTIONS = tomllib.loads((ROOT / "alembic" / "exceptions.toml").read_text())
OLDEST_POSTGRES = "15.0"
# Of what is sent: not what only reads, nor rows, nor Alembic's own table.
LEFT_OUT = ("SELECT", "INSERT", "UPDATE", "SHOW", "CREATE TABLE ALEMBIC_VERSION")


class Listener:
    """Writes down what databases are sent, transactions among it."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        heard: dict[str, Callable[..., None]] = {
            "before_cursor_execute": self._statement,
            "begin": lambda connection: self._transaction(connection, "BEGIN"),
            "commit": lambda connection: self._transaction(connection, "COMMIT"),
            "rollback": lambda connection: self._transaction(connection, "ROLLBACK"),
        }
        for name, hear in heard.items():
            event.listen(Engine, name, hear)
        try:
            yield
        finally:
            for name, hear in heard.items():
                event.remove(Engine, name, hear)

    def _statement(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        words = " ".join(statement.split()).rstrip(";")
        if not words.upper().startswith(LEFT_OUT):
            self.said.append(words)

    def _transaction(self, connection: Connection, word: str) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            self.said.append(word)


@pytest.fixture(scope="module")
def statements(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each migration sends, one file each."""
    folder = tmp_path_factory.mktemp("sql")
    name = f"squawk_{uuid4().hex}"
    asyncio.run(_run(postgres_url, name, folder))
    return folder


def test_squawk_finds_nothing_but_what_is_argued(statements: Path) -> None:
    found = {path.stem: squawk(path) for path in sorted(statements.glob("*.sql"))}
    assert len(found) > 10
    argued = {number: set(rules) for number, rules in EXCEPTIONS.items() if number != "always"}
    left = {number: rules for number, rules in found.items() if rules}
    assert left == argued, "mend the migration, or argue it in alembic/exceptions.toml"
    assert all(reason for rules in EXCEPTIONS.values() for reason in rules.values())


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("CREATE INDEX ix_loans_x ON loans (x)", "require-concurrent-index-creation"),
        (
            "BEGIN; CREATE INDEX CONCURRENTLY ix_loans_x ON loans (x); COMMIT",
            "ban-concurrent-index-creation-in-transaction",
        ),
        ("ALTER TABLE loans ADD COLUMN x text NOT NULL", "adding-required-field"),
        ("ALTER TABLE loans DROP COLUMN due_at", "ban-drop-column"),
        ("ALTER TABLE loans RENAME COLUMN due_at TO due", "renaming-column"),
        ("ALTER TABLE loans ALTER COLUMN renewals TYPE bigint", "changing-column-type"),
    ],
)
def test_squawk_would_find_what_stops_a_library(tmp_path: Path, statement: str, rule: str) -> None:
    path = tmp_path / "bad.sql"
    path.write_text(f"SET statement_timeout = 0;\nSET lock_timeout = '200ms';\n{statement};\n")
    assert rule in squawk(path)


def squawk(path: Path) -> set[str]:
    program = str(Path(sys.executable).parent / "squawk")
    command = [program, "--reporter", "json", "--pg-version", OLDEST_POSTGRES, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return {each["rule_name"] for each in json.loads(done.stdout)} - set(EXCEPTIONS["always"])


async def _run(url: str, name: str, folder: Path) -> None:
    await _administer(url, f"CREATE DATABASE {name}")
    database = Database(_settings(folder, database_url=f"{url}/{name}"))
    listener = Listener()
    limits = [f"SET {setting} = {value}" for setting, value in FOR_MIGRATIONS.items()]
    for path in sorted(VERSIONS.glob("[0-9]*_*.py")):
        listener.said.clear()
        number = path.name.partition("_")[0]
        with listener.listening():
            await migrations.upgrade(database, number)
        (folder / f"{number}.sql").write_text("".join(f"{said};\n" for said in [*limits, *listener.said]))
    await database.close()
    await _administer(url, f"DROP DATABASE {name} WITH (FORCE)")
