"""checkov judges what would be applied; what it finds and we leave is argued in checkov.toml beside this file."""

import fnmatch
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deployment.conftest import ROOT, Document, tool

ARGUED: Final = ROOT / "tests" / "deployment" / "checkov.toml"
LOUD: Final = """
apiVersion: v1
kind: Pod
metadata: { name: loud, namespace: library }
spec: { containers: [{ name: loud, image: busybox, securityContext: { privileged: true } }] }
"""


def found_in(folder: Path, framework: str) -> set[tuple[str, str]]:
    """What fails: checkov's id and the resource."""
    return {(check["check_id"], check["resource"]) for check in failures(folder, framework)}


def failures(folder: Path, framework: str) -> Iterator[dict[str, Any]]:
    done = tool(
        "checkov", "--directory", folder, "--framework", framework, "--skip-download", "--quiet", "--compact",
        "--output", "json",
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stderr
    told = json.loads(done.stdout)
    assert told["summary"]["parsing_errors"] == 0, told
    assert told["summary"]["passed"] > 0, told
    yield from told["results"]["failed_checks"]


def left(framework: str, found: set[tuple[str, str]]) -> set[tuple[str, str]]:
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


def test_what_would_be_applied_follows_the_rules_for_kubernetes(
    rendered: dict[str, list[Document]], tmp_path: Path
) -> None:
    for overlay, documents in rendered.items():
        (tmp_path / f"{overlay}.yaml").write_text(yaml.safe_dump_all(documents))
    assert left("kubernetes", found_in(tmp_path, "kubernetes")) == set()


def test_the_rules_find_a_pod_that_breaks_them(tmp_path: Path) -> None:
    (tmp_path / "loud.yaml").write_text(LOUD)
    assert ("CKV_K8S_16", "Pod.library.loud") in found_in(tmp_path, "kubernetes")


def test_terraform_follows_the_rules_for_clouds() -> None:
    assert left("terraform", found_in(ROOT / "terraform", "terraform")) == set()
