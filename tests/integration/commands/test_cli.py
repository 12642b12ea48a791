"""The command as a whole: help, version, mistakes, and what a failure looks like."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from app.books.models import AccessPoint, Book
from app.cli import COMMANDS
from app.core.db import Database
from tests.integration.commands.command_line import ROOT, CommandLine

HEAVY = ("fastapi", "sqlalchemy", "alembic", "rich", "pydantic", "uvicorn", "asyncpg", "argon2")


def test_help_names_every_command_and_loads_nothing_heavy(bare: CommandLine) -> None:
    code = (
        "import sys\nfrom app.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as left:\n    assert left.code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    *shown, heavy = result.stdout.splitlines()
    assert heavy == "[]"
    assert all(any(line.startswith(f"  {name} ") for line in shown) for name in COMMANDS)
    started = time.perf_counter()
    assert bare.done("--help").splitlines() == shown
    sys.stdout.write(f"`library --help` takes {time.perf_counter() - started:.3f} s\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(bare: CommandLine, command: str) -> None:
    text = bare.done(command, "--help")
    if "Commands:" in text:
        listed = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        names = [line.split()[0] for line in listed if line[2] != " "]
        text += "".join(bare.done(command, name, "--help") for name in names)
    assert "Example" in text
    assert f"library {command}" in text
    assert not list(bare.folder.iterdir())


def test_the_version_is_printed(bare: CommandLine) -> None:
    assert bare.done("--version") == "library 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sevre"], "There is no command 'sevre'. Did you mean 'serve'?"),
        (["zzz"], "No such command 'zzz'."),
        (["user", "craete"], "Did you mean 'create'?"),
        (["serve", "--prot", "80"], "No such option: --prot"),
        (["serve", "--port", "eighty"], "Invalid value for '--port'"),
        (["serve", "--reload", "--workers", "2"], "--reload: works with one worker only"),
    ],
)
def test_a_slip_is_answered_with_a_hint(bare: CommandLine, arguments: list[str], sentence: str) -> None:
    assert sentence in bare.refused(*arguments, code=2)


def test_a_fault_of_the_program_says_so_after_the_traceback(tmp_path: Path) -> None:
    code = (
        "import app.cli\n"
        "def broken(*_, **__): raise ValueError('a detail')\n"
        "app.cli.get_command = broken\n"
        "app.cli.main([])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert result.returncode == 1
    assert "ValueError: a detail" in result.stderr
    assert "This is a fault in the program (ValueError), not in what you typed." in result.stderr.splitlines()[-2]


@pytest.mark.anyio
async def test_a_statement_that_fails_tells_nobodys_data(database: Database) -> None:
    statement = text("INSERT INTO branches (id, version, name) VALUES ('x', 1, :name)")
    with pytest.raises(DBAPIError) as failed:
        async with database.transaction() as session:
            await session.execute(statement, {"name": "a-private-word"})
    assert "a-private-word" not in str(failed.value)
    assert "a-private-word" not in str(failed.value.orig)


def test_the_openapi_document_needs_no_database_and_makes_no_file(bare: CommandLine) -> None:
    document = json.loads(bare.done("openapi", PUBLIC_URL="https://library.test"))
    assert not list(bare.folder.iterdir())
    assert document["servers"] == [{"url": "https://library.test"}]
    assert {"/health", "/api/v1/books", "/api/v1/books/{book_id}", "/api/v1/auth/login"} <= set(document["paths"])
    assert bare.done("openapi", "--output", "openapi.json", PUBLIC_URL="https://library.test") == ""
    assert json.loads((bare.folder / "openapi.json").read_text()) == document
    assert "can't be written" in bare.refused("openapi", "--output", "nowhere/openapi.json")


def test_the_served_document_is_the_written_one(library: CommandLine) -> None:
    with library.serving(PUBLIC_URL="http://localhost") as service:
        served = service.get("/openapi.json").json()
    assert json.loads(library.done("openapi", PUBLIC_URL="http://localhost")) == served


def test_scripts_seed_data_is_the_same_command(bare: CommandLine) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "seed_data.py"), "--help"],
        cwd=bare.folder, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert result.stdout == bare.done("seed", "--help")


@pytest.mark.anyio
async def test_reindex_finds_again_what_lost_its_keys(library: CommandLine, database: Database) -> None:
    library.done("seed")
    async with database.transaction() as session:
        await session.execute(delete(AccessPoint))
        await session.execute(update(Book).values(search_terms="", title_key=""))
    assert library.done("catalog", "reindex") == "Rebuilt what finds the books, in 1 batch of up to 500.\n"
    with library.serving() as service:
        for question in ("q=middlemarch", "author=eliot george", "q=отцы дети"):
            [book] = service.get(f"/api/v1/books?{question}").json()["items"]
            assert book["version"] == 1, question
        first = service.get("/api/v1/books?sort=title&limit=1").json()["items"][0]
    assert first["title"] == "20,000 Leagues Under the Sea"


def test_reindex_of_an_empty_library_does_nothing(library: CommandLine) -> None:
    assert library.done("catalog", "reindex") == "Rebuilt what finds the books, in 0 batches of up to 500.\n"
