"""Settings that can't be used: the command refuses to start, and says what to set."""

import json
from pathlib import Path

import pytest

from tests.conftest import SECRET
from tests.integration.commands.command_line import CommandLine

POSTGRES = "postgresql://library:hidden-word@127.0.0.1:1/library"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"SECRET_KYE": SECRET}, "SECRET_KYE is set, but there is no such setting; did you mean SECRET_KEY?"),
        ({"DATABSE_URL": POSTGRES}, "DATABSE_URL is set, but there is no such setting; did you mean DATABASE_URL?"),
        (
            {"SECRET_KEY_FLIE": "/run/secret"},
            "SECRET_KEY_FLIE is set, but there is no such setting; did you mean SECRET_KEY_FILE?",
        ),
        ({"SECRET_KEY": "changeme-changeme-changeme-changeme"}, "SECRET_KEY is a placeholder; make one with: python3"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY needs 32 random characters or more; make one with: python3"),
        ({"SECRET_KEY": "ab" * 30}, "SECRET_KEY needs 32 random characters or more; make one with: python3"),
        ({"DATABASE_URL": POSTGRES}, "SECRET_KEY must be set when DATABASE_URL is PostgreSQL; make one with: python3"),
        ({"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL must begin with postgresql:// or sqlite:///"),
        ({"DATABASE_URL": "sqlite"}, "DATABASE_URL must begin with postgresql:// or sqlite:///"),
        ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL must name a file, such as sqlite:////var/lib/library/library.db"),
        ({"DEBUG": "true"}, "DEBUG must be off in production; or set ENVIRONMENT=development"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS must name the hosts in production, not '*'"),
        ({"FORWARDED_ALLOW_IPS": "*"}, "FORWARDED_ALLOW_IPS must name the proxy's addresses in production, not '*'"),
        ({"PORT": "eighty"}, "PORT Input should be a valid integer"),
        ({"TIMEZONE": "Mars/Olympus"}, "TIMEZONE must be an IANA time zone such as Europe/Berlin"),
        ({"ENVIRONMENT": "prod"}, "ENVIRONMENT Input should be 'development', 'staging' or 'production'"),
    ],
)
def test_a_setting_that_cant_be_used_is_named(bare: CommandLine, settings: dict[str, str], sentence: str) -> None:
    complaint = bare.refused("serve", code=2, **settings)
    assert complaint.startswith("The settings can't be used:\n" + sentence)
    assert "hidden-word" not in complaint
    assert not list(bare.folder.iterdir())


@pytest.mark.parametrize("command", ["migrate", "user list", "catalog reindex", "seed", "openapi", "config show"])
def test_no_command_works_with_settings_that_cant_be_used(bare: CommandLine, command: str) -> None:
    assert "did you mean SECRET_KEY?" in bare.refused(*command.split(), code=2, SECRET_KYE=SECRET)
    assert not list(bare.folder.iterdir())


def test_every_problem_is_told_at_once(bare: CommandLine) -> None:
    complaint = bare.refused("config", "show", code=2, PORT="eighty", CURRENCY="euro").splitlines()
    assert [line.split()[0] for line in complaint[1:]] == ["CURRENCY", "PORT"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("SECRET_KYE=x", "library.env sets SECRET_KYE, which nothing reads; did you mean SECRET_KEY?"),
        ("COFFEE=black", "library.env sets COFFEE, which nothing reads; take the line out."),
    ],
)
def test_a_line_of_library_env_that_nothing_reads_is_refused(bare: CommandLine, line: str, sentence: str) -> None:
    (bare.folder / "library.env").write_text(f"PORT=8000\n{line}\n")
    assert sentence in bare.refused("config", "show", code=2)


def test_names_that_are_nobodys_business_are_left_alone(bare: CommandLine) -> None:
    bare.done("config", "show", PROT="1", HOSTNAME="x", SOMETHING_ELSE="1", PORTS="1")


def test_a_value_and_its_file_may_not_both_be_set(bare: CommandLine) -> None:
    complaint = bare.refused("config", "show", code=2, SECRET_KEY=SECRET, SECRET_KEY_FILE="/run/secret")
    assert "SECRET_KEY and SECRET_KEY_FILE are both set; keep one of them" in complaint


def test_a_secret_file_that_cant_be_read_is_named(bare: CommandLine, tmp_path: Path) -> None:
    complaint = bare.refused("config", "show", code=2, SECRET_KEY_FILE=str(tmp_path / "none"))
    assert f"SECRET_KEY_FILE={tmp_path / 'none'} can't be read" in complaint
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "can't be read" in bare.refused("config", "show", code=2, SECRET_KEY_FILE=str(tmp_path / "binary"))


def test_config_show_tells_values_and_origins_and_no_secret(bare: CommandLine) -> None:
    (bare.folder / "token").write_text("a-token-of-the-operator\n")
    (bare.folder / "library.env").write_text("TIMEZONE=Europe/Berlin\nPORT=9000\n")
    given = {
        "SECRET_KEY": SECRET,
        "PORT": "9001",
        "METRICS_TOKEN_FILE": "token",
        "DATABASE_URL": "postgresql://library:hidden@db:5432/library?sslmode=require&sslpassword=buried",
    }
    shown = json.loads(bare.done("config", "show", "--json", **given))
    assert shown["PORT"] == {"value": "9001", "origin": "environment"}
    assert shown["TIMEZONE"] == {"value": "Europe/Berlin", "origin": "library.env"}
    assert shown["METRICS_TOKEN"] == {"value": "********", "origin": "file token"}
    assert shown["SECRET_KEY"] == {"value": "********", "origin": "environment"}
    assert shown["DATABASE_URL"]["value"] == (
        "postgresql://library:********@db:5432/library?sslmode=require&sslpassword=********"
    )
    assert shown["CURRENCY"] == {"value": "EUR", "origin": "default"}
    table = bare.done("config", "show", **given)
    for secret in (SECRET, "hidden", "buried", "a-token-of-the-operator"):
        assert secret not in table
    assert len(table.splitlines()) == len(shown) + 1
