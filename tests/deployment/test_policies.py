"""checkov judges what would be applied; what it finds and we leave is argued in checkov.toml beside this file."""

import fnmatch
import json
import shutil
import tomllib
from typing import Final

import pytest
import yaml

from tests.deployment.conftest import ROOT, Document, tool

Finding = tuple[str, str]
"""checkov's id and the resource."""

FRAMEWORKS: Final = ("kubernetes", "terraform", "dockerfile")
DOCKERFILES: Final = ("Dockerfile", "nginx/waf/modsecurity/Dockerfile", "etcd/Dockerfile")
ARGUED: Final = ROOT / "tests" / "deployment" / "checkov.toml"
LOUD_POD: Final = "Pod.library.loud"
LOUD: Final = """
apiVersion: v1
kind: Pod
metadata: { name: loud, namespace: library }
spec: { containers: [{ name: loud, image: busybox, securityContext: { privileged: true } }] }
"""


@pytest.fixture(scope="module")
def found(rendered: dict[str, list[Document]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[Finding]]:
    """What fails, by framework, in the overlays, terraform/ and Dockerfiles, and in a pod that breaks the rules."""
    folder = tmp_path_factory.mktemp("judged")
    for overlay, documents in rendered.items():
        (folder / f"{overlay}.yaml").write_text(yaml.safe_dump_all(documents))
    (folder / "loud.yaml").write_text(LOUD)
    shutil.copytree(ROOT / "terraform", folder / "terraform", ignore=shutil.ignore_patterns(".terraform*"))
    for name in DOCKERFILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    done = tool(
        "checkov", "--directory", folder, "--framework", *FRAMEWORKS, "--skip-download", "--quiet", "--compact",
        "--output", "json",
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr
    told = {each["check_type"]: each for each in json.loads(done.stdout)}
    for each in told.values():
        assert each["summary"]["parsing_errors"] == 0
        assert each["summary"]["passed"] > 100
    return {
        framework: {(check["check_id"], check["resource"]) for check in each["results"]["failed_checks"]}
        for framework, each in told.items()
    }


def left(framework: str, found: set[Finding]) -> set[Finding]:
    """What no entry of checkov.toml argues for; entries without use fail."""
    entries = [each for each in tomllib.loads(ARGUED.read_text("utf-8"))["left"] if each["framework"] == framework]
    needless = [
        each
        for each in entries
        if not any(check == each["check"] and fnmatch.fnmatch(where, each["where"]) for check, where in found)
    ]
    assert not needless, "nothing needs these entries of checkov.toml any more"
    assert all(each["reason"] for each in entries)
    return {
        (check, where)
        for check, where in found
        if not any(check == each["check"] and fnmatch.fnmatch(where, each["where"]) for each in entries)
    }


def test_what_would_be_applied_follows_the_rules_for_kubernetes(found: dict[str, set[Finding]]) -> None:
    ours = {(check, where) for check, where in found["kubernetes"] if where != LOUD_POD}
    assert left("kubernetes", ours) == set()


def test_the_rules_find_a_pod_that_breaks_them(found: dict[str, set[Finding]]) -> None:
    assert ("CKV_K8S_16", LOUD_POD) in found["kubernetes"]


def test_terraform_follows_the_rules_for_clouds(found: dict[str, set[Finding]]) -> None:
    assert left("terraform", found["terraform"]) == set()


def test_the_images_follow_the_rules_for_dockerfiles(found: dict[str, set[Finding]]) -> None:
    assert left("dockerfile", found["dockerfile"]) == set()
