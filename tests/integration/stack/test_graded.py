"""What others think of the proxy: Mozilla's Observatory of its headers, sslyze of its TLS."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import assets, stack_tools
from tests import evidence
from tests.integration.stack.certificates import signed
from tests.integration.stack.compose import ROOT
from tests.integration.stack.running import HOST, Stack
from tests.integration.stack.test_database import ask

A_PLUS = 130
ANSWERS = {
    "/": 200, "/docs": 200, "/api/v1/books": 200, "/static/web/site.css": 200, "/me": 303,
    "/nothing": 404, "/api/v1/nothing": 404, "/metrics": 404,
}  # fmt: skip
BROKEN = {"/?q=broken": 500, "/api/v1/books?q=broken": 500}
AWAY = {"/docs?away": 503, "/api/v1/books?away": 503}


@pytest.fixture(scope="module")
def authority(stack: Stack) -> Iterator[Path]:
    with signed(stack) as certificate:
        yield certificate


def grade(stack: Stack, authority: Path, *paths: str) -> dict[str, dict[str, Any]]:
    """As somebody would who knows the host's name and trusts the authority."""
    hosts = stack.folder / "outside-hosts"
    hosts.write_text(f"{stack.running['nginx'].address} {HOST}\n")
    npm = assets.npm()
    node = npm[0] if len(npm) > 1 else str(shutil.which("node"))
    script = 'mount --bind "$1" /etc/hosts; shift; exec "$@"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", str(hosts), node]
    done = subprocess.run(
        [*command, str(ROOT / "tests/integration/stack/observatory/grade.mjs"), HOST, *paths],
        check=True, capture_output=True, text=True, cwd=stack_tools.OBSERVATORY,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": str(authority)},
    )  # fmt: skip
    grades: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return grades


def test_every_kind_of_answer_is_graded_a_plus(stack: Stack, authority: Path) -> None:
    grades = grade(stack, authority, *ANSWERS)
    try:
        assert ask(stack, "migrate", "REVOKE SELECT ON books FROM library_app")[0] == 0
        grades |= grade(stack, authority, *BROKEN)
    finally:
        assert ask(stack, "migrate", "GRANT SELECT ON books TO library_app")[0] == 0
    try:
        stack.members()
        grades |= grade(stack, authority, *AWAY)
    finally:
        stack.members("api-1", "api-2")
    scores = {path: told["score"] for path, told in grades.items()}
    evidence.keep("S8", "headers", value=min(scores.values()), limit=A_PLUS, scores=scores)
    assert {path: told["status"] for path, told in grades.items()} == ANSWERS | BROKEN | AWAY
    assert all(told["verified"] for told in grades.values())
    lost = {path: [test for test in told["results"] if not test["pass"]] for path, told in grades.items()}
    assert min(scores.values()) >= A_PLUS, lost
    assert {told["grade"] for told in grades.values()} == {"A+"}


def test_tls_is_what_mozilla_calls_intermediate(stack: Stack, authority: Path) -> None:
    assert _compliance(stack, authority, "intermediate").endswith("OK - Compliant.")
    # That it finds something: the modern set has no TLS 1.2, and readers with old browsers need it.
    assert "TLSv1.2" in _compliance(stack, authority, "modern")


def _compliance(stack: Stack, authority: Path, wanted: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "sslyze", f"--mozilla_config={wanted}"]
    command += [f"--certinfo_ca_file={authority}", f"--sni={HOST}", f"{stack.running['nginx'].address}:443"]
    environment = {"PYTHONPATH": str(stack_tools.SSLYZE)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    said = done.stdout.partition("COMPLIANCE AGAINST")[2].partition(" configuration. See")[2].strip()
    verdict = "; ".join(line.strip() for line in said.splitlines()[1:] if line.strip())
    evidence.keep("S8", f"tls-{wanted}", exit_code=done.returncode, verdict=verdict)
    return verdict
