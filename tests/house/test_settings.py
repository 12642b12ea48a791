"""Every setting is read by the code, explained in .env.example with its true default, and nothing else is there."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from app.core.config import Settings
from tests.house.source import ROOT, modules

EXAMPLE = ROOT / ".env.example"
LINE = re.compile(r"#([A-Z][A-Z0-9_]*)=(.*)")
READERS = {"settings", "_settings"}
# Where else the environment is touched: prometheus_client looks there, and `serve` passes options on to its workers.
TOUCHES_ENVIRONMENT = {
    "app/core/config.py",
    "app/core/secret_files.py",
    "app/core/metrics.py",
    "app/commands/serve.py",
}


@pytest.fixture
def examples() -> dict[str, str]:
    """The settings that .env.example names, with the value it shows."""
    found = [LINE.fullmatch(line) for line in EXAMPLE.read_text(encoding="utf-8").splitlines()]
    return {match[1]: match[2] for match in found if match}


def test_env_example_names_every_setting_and_no_other(examples: dict[str, str]) -> None:
    settings = {name.upper() for name in Settings.model_fields}
    assert examples.keys() == settings, (
        f"explain in .env.example: {sorted(settings - examples.keys())}; take out: {sorted(examples.keys() - settings)}"
    )


def test_env_example_explains_every_setting_above_it() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for above, line in pairwise(lines):
        if match := LINE.fullmatch(line):
            assert above.startswith("# "), f"say above {match[1]} what it does"


def test_env_example_shows_the_true_defaults(
    examples: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    written = tmp_path / "library.env"
    written.write_text("".join(f"{name}={value}\n" for name, value in examples.items()), encoding="utf-8")
    shown, real = Settings(_env_file=written), Settings(_env_file=None)
    for name in Settings.model_fields:
        assert getattr(shown, name) == getattr(real, name), f".env.example shows another default of {name.upper()}"


def test_every_setting_is_read_by_the_code() -> None:
    read = {
        node.attr
        for module in modules("app", "gunicorn_conf.py")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and ast.unparse(node.value).rpartition(".")[2] in ({"self"} if module.path == "app/core/config.py" else READERS)
    }
    unread = sorted(name for name in Settings.model_fields if name not in read)
    assert not unread, f"nothing reads {unread}: use them, or take them out"


def test_the_environment_is_read_in_one_place() -> None:
    elsewhere = sorted(
        f"{module.path}:{node.lineno}"
        for module in modules("app")
        if module.path not in TOUCHES_ENVIRONMENT
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    )
    assert not elsewhere, f"{elsewhere}: make it a setting (app/core/config.py)"
