"""The documents are true: their links lead somewhere, and the commands, addresses and settings they name exist."""

import importlib
import re
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from typer.main import get_command

from app import cli
from app.core import metrics
from app.core.config import Environment, Settings
from app.core.middleware import Endpoints
from app.main import create_app
from tests.conftest import SECRET
from tests.house.source import ROOT, documents, modules

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE = re.compile(r"(?:^|[`\s])make ([a-z][a-z-]*)(?=[`\s.,;:)]|$)", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
ADDRESS = re.compile(r"(?:localhost:\d+|[\s`'\"])(/(?:api/v1|health|metrics|docs|redoc|openapi)[\w/.{}$-]*)")
LIBRARY = re.compile(r"(?:^|[`\s/])library ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
CAPITALS = re.compile(r"(?<![\w/.])[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b")
# For `make test`, the pipeline and Compose, and not the service's.
NO_SETTINGS = {
    "BENCH_CACHE",
    "COMPOSE_FILE",
    "KUBECONFIG_CONTENT",
    "PROMETHEUS_URL",
    "TEST_POSTGRES_URL",
    "WEBHOOK_URL",
}
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
DECISIONS = ROOT / "docs" / "adr"
PARTS = ["Context", "Decision", "Consequences", "Refused"]
PAGE_LINES = 60

everywhere = pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))


def code_of(path: Path) -> str:
    return "\n".join(CODE.findall(path.read_text(encoding="utf-8")))


def headings_of(path: Path) -> list[tuple[str, str]]:
    return HEADING.findall(re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))


def anchors_of(path: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in headings_of(path)}


@everywhere
def test_every_link_of_a_document_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), f"{path.name} links to {target}, which isn't there"
        assert not anchor or anchor in anchors_of(linked), f"{path.name} links to {target}, a heading that isn't there"


@everywhere
def test_every_make_verb_that_a_document_names_exists(path: Path) -> None:
    verbs = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(MAKE.findall(code_of(path)))
    assert named <= verbs, f"{path.name} names make {sorted(named - verbs)}"


@everywhere
def test_every_address_that_a_document_names_exists(path: Path, templates: Endpoints) -> None:
    for address in ADDRESS.findall(code_of(path)):
        concrete = re.sub(r"\{\w+\}|\$\w+", "1", address).rstrip("/.")
        known = templates.match(concrete) != metrics.UNMATCHED or concrete == "/api/v1"
        assert known, f"{path.name} names {address}, which the service doesn't answer"


@everywhere
def test_every_library_command_that_a_document_names_exists(path: Path) -> None:
    for name, verb in LIBRARY.findall(code_of(path)):
        assert name in cli.COMMANDS, f"{path.name} names library {name}"
        module, _, attribute = cli.COMMANDS[name][0].partition(":")
        command = get_command(getattr(importlib.import_module(module), attribute))
        verbs = getattr(command, "commands", {})
        assert not verbs or not verb or verb in verbs, f"{path.name} names library {name} {verb}"


@everywhere
def test_every_setting_that_a_document_names_exists(path: Path) -> None:
    if path.name == "former-names.md":
        return
    settings = {name.upper() for name in Settings.model_fields}
    settings |= {f"{name}_FILE" for name in settings} | NO_SETTINGS
    named = set(CAPITALS.findall(code_of(path)))
    assert named <= settings, f"{path.name} names {sorted(named - settings)}"


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Endpoints:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("documents"),
        secret_key=SecretStr(SECRET),
        environment=Environment.DEVELOPMENT,
    )
    api = create_app(settings).app
    return Endpoints(context.path for context in iter_route_contexts(api.routes) if context.path)  # type: ignore[attr-defined]  # the FastAPI inside


def test_the_readme_gives_the_two_commands_that_ci_runs() -> None:
    for name in ("README.md", "README.ru.md"):
        blocks = "\n".join(SHELL.findall((ROOT / name).read_text(encoding="utf-8")))
        for command in ("make run", "make test"):
            assert command in blocks.splitlines(), f"{name} must show `{command}` on a line of its own"
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make check" in (ROOT / ".ci" / "run").read_text()


def test_the_russian_readme_has_the_same_parts_as_the_english_one() -> None:
    english, russian = (headings_of(ROOT / name) for name in ("README.md", "README.ru.md"))
    assert [level for level, _ in english] == [level for level, _ in russian]
    commands = [SHELL.findall((ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "README.ru.md")]
    assert commands[0] == commands[1], "both must show the same commands"


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    titles = [title for level, title in headings_of(ROOT / "CHANGELOG.md") if level == "##"]
    assert titles[0] == "[Unreleased]"


def test_decisions_are_numbered_and_the_index_lists_each() -> None:
    names = sorted(path.name for path in DECISIONS.glob("0*.md"))
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    assert LINK.findall((DECISIONS / "README.md").read_text()) == names


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("0*.md")), ids=lambda path: path.stem)
def test_a_decision_is_one_page_that_says_what_was_refused(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= PAGE_LINES, f"{len(lines)} lines: a decision is one page"
    assert max(map(len, lines)) <= 120
    assert [title for level, title in headings_of(path) if level == "##"] == PARTS


def test_every_document_that_the_code_names_exists() -> None:
    for module in modules("app", "alembic", "scripts", ".ci"):
        for name in re.findall(r"docs/[\w/.-]+\.md", module.text):
            assert (ROOT / name).exists(), f"{module.path} names {name}"


def test_the_page_about_the_architecture_names_every_part() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    parts = {Path(module.path).parts[1] for module in modules("app") if module.path.count("/") > 1}
    missing = {part for part in parts if not re.search(rf"\b{part}\b", text)}
    assert not missing, f"place {sorted(missing)} in docs/architecture.md"
