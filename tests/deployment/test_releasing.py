"""scripts/k8s-deploy.sh with the real kubectl: what it applies, whom it sends where, and when it goes back."""

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.deployment import apiserver
from tests.deployment.conftest import DIGEST, ROOT, TOOLS

# The stand-in describes no shapes; a real server does, and test_schemas.py holds the documents against them.
KUBECTL: Final = f"""#!/bin/bash
for each; do [ "$each" != apply ] || set -- "$@" --validate=false; done
exec {TOOLS / "kubectl"} "$@"
"""
NEXT: Final = "sha256:" + "f" * 64


@dataclass(frozen=True)
class Operator:
    """Somebody with a checkout, a cluster and a Prometheus."""

    folder: Path
    cluster: apiserver.Cluster
    environment: dict[str, str]

    def does(self, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "scripts" / "k8s-deploy.sh", *arguments],
            env=self.environment | given, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def image(self, deployment: str) -> str:
        spec = self.cluster.objects["Deployment", deployment]["spec"]["template"]["spec"]
        return str(spec["containers"][0]["image"]).rpartition("@")[2]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """With production on DIGEST. It renders in a folder of its own."""
    around = tmp_path_factory.mktemp("operator")
    folder = around / "library"
    for name in ("k8s", "prometheus", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".venv", "app", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    kubectl = around / "tools" / "bin" / "kubectl"
    kubectl.parent.mkdir(parents=True)
    (folder / ".venv-deploy").symlink_to(around / "tools")
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    with apiserver.running(around / "kubeconfig") as (cluster, address):
        given = {"KUBECONFIG": str(around / "kubeconfig"), "PROMETHEUS_URL": address}
        quick = {"WATCH": "2", "PAUSE": "0.5", "DRAIN": "0"}
        who = Operator(folder, cluster, os.environ | given | quick)
        done = who.does("release", DIGEST)
        assert done.returncode == 0, done.stdout + done.stderr
        yield who


@pytest.fixture
def operator(released: Operator) -> Iterator[Operator]:
    """As `released`, whatever a test did before."""
    kept = copy.deepcopy(vars(released.cluster))
    yield released
    vars(released.cluster).update(kept)


def test_a_release_is_the_whole_of_production(operator: Operator) -> None:
    assert operator.image("api") == DIGEST
    kinds = {kind for kind, _ in operator.cluster.objects}
    assert kinds >= {"Job", "CronJob", "HTTPRoute", "PrometheusRule", "HorizontalPodAutoscaler", "NetworkPolicy"}
    assert operator.cluster.weights[-1] == {"api": 100}


def test_a_good_canary_gets_its_share_and_then_becomes_the_release(operator: Operator) -> None:
    done = operator.does("canary", NEXT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (operator.image("api"), operator.image("api-canary")) == (DIGEST, NEXT)
    assert operator.cluster.weights[-1] == {"api": 90, "api-canary": 10}
    rules = operator.cluster.rules
    assert operator.cluster.asked[0] == rules.bad()["SomethingPages"], "before anything was changed"
    assert {*rules.figures().values(), *rules.bad().values(), rules.unseen()} <= set(operator.cluster.asked)
    done = operator.does("release", NEXT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert operator.image("api") == NEXT
    assert operator.cluster.weights[-1] == {"api": 100}
    assert not [key for key in operator.cluster.objects if key[1].startswith("api-canary")]
    # Until the pods were replaced, nobody was sent away from the canary.
    assert operator.cluster.weights[-2:] == [{"api": 90, "api-canary": 10}, {"api": 100}]


def test_a_bad_canary_goes_back_by_itself(operator: Operator) -> None:
    operator.cluster.is_canary_bad = True
    done = operator.does("canary", NEXT)
    assert done.returncode == 1
    assert "going back" in done.stderr
    assert operator.cluster.weights[-2:] == [{"api": 90, "api-canary": 10}, {"api": 100}]
    assert operator.image("api") == DIGEST
    assert ("Deployment", "api-canary") not in operator.cluster.objects


def test_a_canary_that_nobody_can_judge_goes_back(operator: Operator) -> None:
    assert operator.does("canary", NEXT, PROMETHEUS_URL="http://127.0.0.1:1").returncode == 1
    assert operator.cluster.weights[-1] == {"api": 100}


def test_a_canary_that_too_few_asked_goes_back(operator: Operator) -> None:
    operator.cluster.answers = 199
    done = operator.does("canary", NEXT)
    assert done.returncode == 1
    assert "too few requests to judge by, 200 are needed" in done.stdout
    assert operator.cluster.weights[-1] == {"api": 100}


def test_nothing_begins_while_something_is_wrong_already(operator: Operator) -> None:
    operator.cluster.is_ill = True
    before = list(operator.cluster.weights)
    done = operator.does("blue-green", NEXT)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert operator.cluster.weights == before
    assert ("Deployment", "api-canary") not in operator.cluster.objects


def test_blue_green_sends_everybody_over_and_one_command_sends_them_back(operator: Operator) -> None:
    done = operator.does("blue-green", NEXT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert operator.cluster.weights[-1] == {"api": 0, "api-canary": 100}
    canary = operator.cluster.objects["Deployment", "api-canary"]["spec"]
    assert canary["replicas"] == operator.cluster.objects["Deployment", "api"]["spec"]["replicas"]
    done = operator.does("back")
    assert done.returncode == 0, done.stdout + done.stderr
    assert operator.cluster.weights[-1] == {"api": 100}
    assert operator.image("api") == DIGEST


def test_who_asks_for_nothing_is_told_what_there_is(operator: Operator) -> None:
    done = operator.does("canary")
    assert done.returncode == 2
    assert "blue-green sha256" in done.stderr
