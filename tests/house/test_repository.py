"""What is committed names no machine and no registry, and its locks and versions fit together."""

import re
import tomllib
from pathlib import Path

import app
from tests.house.rules import PROMISES
from tests.house.source import ROOT, modules, tracked_files

# Written in pieces, because this file is searched too.
HOSTS = re.compile(
    r"(?:pypi|pythonhosted|npmjs|jsdelivr|unpkg|debian|ubuntu|golang|github|docker|gcr|quay|ghcr)"
    r"\.(?:org|com|io)(?:/|:\d|$)",
    re.MULTILINE,
)
MACHINE_PATHS = re.compile(r"""(?<![\w.}/-])/(?:work|root|home)/[\w.-]+""")
TEXT = {".py", ".md", ".txt", ".in", ".toml", ".ini", ".sh", ".yml", ".yaml", ".js", ".json", ".css", ".html", ""}
FLOORED = re.compile(r"[a-z0-9-]+(?:\[[a-z0-9,]+\])?>=[0-9][0-9.]*")


def text_files() -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in tracked_files()
        if path.suffix in TEXT
    ]


def test_no_file_names_a_registry_or_a_public_host_of_code() -> None:
    found = [f"{name}: {match[0]}" for name, text in text_files() for match in HOSTS.finditer(text)]
    assert not found, f"{found}: registries are the machine's affair; say the package's name"


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [f"{name}: {match[0]}" for name, text in text_files() for match in MACHINE_PATHS.finditer(text)]
    assert not found, f"{found}: use a path in the repository, or a setting"


def test_nothing_is_left_to_be_done_in_any_file() -> None:
    found = [f"{name}: {match[0]}" for name, text in text_files() for match in PROMISES.finditer(text)]
    assert not found, f"{found}: do it, or file an issue"


def test_every_requirement_has_a_floor() -> None:
    """A resolver once fell back to a release of 2022 for one helper without a floor."""
    for path in sorted(ROOT.glob("requirements*.in")):
        for line in path.read_text().splitlines():
            requirement = line.partition("#")[0].strip()
            if requirement and not requirement.startswith("-r "):
                assert FLOORED.fullmatch(requirement), f"{path.name}: write {requirement} as name>=version"


def test_every_pin_of_every_lock_has_a_hash() -> None:
    locks = sorted(ROOT.glob("requirements*.txt"))
    assert len(locks) == len(list(ROOT.glob("requirements*.in")))
    for path in locks:
        entries = path.read_text().replace("\\\n", " ").splitlines()
        assert entries, path.name
        for entry in entries:
            assert re.fullmatch(r"\S+==\S+( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+", entry), (
                f"{path.name}: {entry:.60}"
            )


def test_the_release_has_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == app.__version__


def test_every_package_is_a_folder_with_an_init_file() -> None:
    folders = {Path(module.path).parent for module in modules("app")}
    missing = sorted(str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists())
    assert not missing, f"add an empty __init__.py to {missing}"
