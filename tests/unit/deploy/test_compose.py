"""The Compose driver's command lines, against the options that the reference of `docker compose` names."""

import os
import re
import shlex
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from app.commands.deploy.drivers import Compose, Program

ROOT = Path(__file__).resolve().parents[3]
# Source: the command line reference of Docker Compose (docs/reference of its repository), July 2026.
REFERENCE = {
    "version": {"--format", "--short"},
    "config": {"--quiet", "--services", "--format"},
    "up": {
        "--detach", "--no-deps", "--no-recreate", "--force-recreate", "--wait", "--wait-timeout", "--scale",
        "--timeout", "--remove-orphans", "--pull",
    },
    "stop": {"--timeout"},
    "rm": {"--force", "--stop", "--volumes"},
    "run": {"--rm", "--no-deps", "-T", "--env", "--entrypoint", "--user", "--volume", "--detach", "--name"},
    "ps": {"--all", "--format", "--quiet", "--services", "--status", "--filter"},
    "logs": {"--no-color", "--no-log-prefix", "--since", "--until", "--tail", "--timestamps", "--follow"},
    "exec": {"-T", "--user", "--workdir", "--env", "--index", "--detach"},
}  # fmt: skip
WITH_VALUE = {"--wait-timeout", "--format", "--since"}


def all_verbs(driver: Compose | Program) -> None:
    driver.check()
    driver.digest("library:2")
    driver.tag("library:2", "library:0123")
    driver.up("", "library:1")
    driver.up("api-green", "library:2", 3)
    driver.up("scheduler", "library:2")
    driver.scale("api-green", 4)
    driver.run_once("migrate", "library:2", "library", "migrate")
    driver.healthy("api")
    driver.logs("nginx", datetime(2026, 1, 1, tzinfo=UTC))
    driver.reload_proxy()
    driver.are_there(["7"])
    driver.addresses("api")
    driver.stop("api")


@pytest.fixture
def lines(tmp_path: Path) -> list[list[str]]:
    said: list[str] = []
    all_verbs(Compose(tmp_path, dry=said.append))
    return [shlex.split(line) for line in said]


def test_every_option_is_one_that_the_reference_names(lines: list[list[str]]) -> None:
    used: set[str] = set()
    for words in lines:
        if "compose" not in words:
            continue
        verb, *rest = words[words.index("compose") + 1 :]
        assert verb in REFERENCE, words
        used.add(verb)
        while rest and rest[0].startswith("-"):
            option = rest.pop(0)
            assert option in REFERENCE[verb], words
            if option in WITH_VALUE:
                rest.pop(0)
    assert used == set(REFERENCE)


def test_services_and_variables_are_those_of_the_compose_file(lines: list[list[str]]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    services = set(yaml.safe_load(text)["services"])
    named = {word for words in lines for word in words} & {"api", "api-green", "scheduler", "migrate", "nginx"}
    assert named == {"api", "api-green", "scheduler", "migrate", "nginx"}
    assert named <= services
    for variable in {name for words in lines for name in re.findall(r"\bLIBRARY_\w+(?==)", " ".join(words))}:
        assert "${" + variable in text, variable


def test_what_is_to_run_stands_in_env_and_nothing_else_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(tmp_path, monkeypatch, "")
    env = tmp_path / ".env"
    env.write_text("LIBRARY_IMAGE=library:1\nCOMPOSE_PROJECT_NAME=mine\nLIBRARY_BLUE=9\n")
    env.chmod(0o600)
    driver = Compose(tmp_path)
    driver.up("api-green", "library:2", 2)
    driver.up("scheduler", "library:2")
    driver.stop("api")
    assert sorted(env.read_text().splitlines()) == [
        "COMPOSE_PROJECT_NAME=mine", "LIBRARY_BLUE=0", "LIBRARY_GREEN=2", "LIBRARY_IMAGE=library:2",
        "LIBRARY_IMAGE_GREEN=library:2",
    ]  # fmt: skip
    assert stat.S_IMODE(env.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("said", "is_well"),
    [
        ("", False),
        ('{"Service":"api","State":"running","Health":"healthy"}', True),
        (
            '{"Service":"api","State":"running","Health":""}\n{"Service":"api","State":"running","Health":"healthy"}',
            True,
        ),
        ('{"Service":"api","State":"running","Health":"starting"}', False),
        (
            '{"Service":"api","State":"running","Health":"healthy"}\n{"Service":"api","State":"exited","Health":""}',
            False,
        ),
        ('[{"Service":"api","State":"running","Health":"healthy"}]', True),
        ("[]", False),
    ],
)
def test_health_is_read_as_both_shapes_of_compose_print_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, *, is_well: bool
) -> None:
    answering(tmp_path, monkeypatch, said)
    assert Compose(tmp_path).healthy("api") is is_well


def test_a_program_is_asked_the_same_verbs(tmp_path: Path) -> None:
    said: list[str] = []
    all_verbs(Program("python3 driver.py", tmp_path, dry=said.append))
    assert {shlex.split(line)[2] for line in said} == {
        "check", "digest", "tag", "up", "scale", "run-once", "healthy", "logs", "addresses", "in-proxy", "stop",
    }  # fmt: skip


def answering(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """A `docker` on the PATH that prints this, whatever it is asked: for how that is read."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    (folder / "said").write_text(said)
    program.write_text(f"#!/bin/sh\ncat {folder}/said\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
