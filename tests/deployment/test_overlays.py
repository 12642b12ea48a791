"""What the overlays say of the service agrees with the service, with Compose and with itself."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from app.core.config import Environment, Settings
from app.main import create_app
from tests.conftest import SECRET
from tests.deployment.conftest import (
    DIGEST,
    OVERLAYS,
    ROOT,
    Document,
    compose,
    named,
    of_kind,
    pods,
    service_containers,
    settings_of,
    tool,
)

SETTINGS: Final = {name.upper() for name in Settings.model_fields}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("addresses"),
        secret_key=SecretStr(SECRET),
        environment=Environment.DEVELOPMENT,
    )
    api: Any = create_app(settings).app
    return {context.path for context in iter_route_contexts(api.routes) if context.path}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_overlay_renders_without_a_digest(overlay: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    done = tool("kubectl", "kustomize", tmp_path / "k8s" / "overlays" / overlay)
    assert done.returncode != 0
    assert f"build/k8s/{overlay}" in done.stderr


@pytest.mark.parametrize("digest", ["", "latest", "sha256:abc"])
def test_rendering_refuses_what_is_no_digest(digest: str) -> None:
    command = ["make", "--silent", "k8s-render", f"DIGEST={digest}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode != 0
    assert "DIGEST must be" in done.stderr


def test_every_container_of_ours_runs_the_given_digest(rendered: dict[str, list[Document]]) -> None:
    for documents in rendered.values():
        images = {container["image"] for container in service_containers(documents)}
        assert images == {f"registry.example.org/library@{DIGEST}"}
        name = f"migrate-{DIGEST.partition(':')[2][:10]}"
        (job,) = of_kind(documents, "Job")
        assert job["metadata"]["name"].startswith(name), "a Job can't be changed: each release has its own"


def test_every_environment_name_is_a_setting(rendered: dict[str, list[Document]]) -> None:
    for documents in rendered.values():
        given = settings_of(documents)
        assert given.keys() <= SETTINGS
        for container in service_containers(documents):
            names = {each["name"] for each in container["env"]}
            assert {name.removesuffix("_FILE") for name in names} <= SETTINGS
            assert all("value" in each for each in container["env"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_starts_with_those_settings(
    overlay: str, rendered: dict[str, list[Document]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    container = service_containers(of_kind(rendered[overlay], "Deployment"))[0]
    secrets = {
        "database_url": f"postgresql://library_app:{SECRET}@database:5432/library",
        "database_replica_url": f"postgresql://library_app:{SECRET}@replica:5432/library",
        "redis_url": "redis://redis:6379/0",
        "storage_url": "s3://library/files?region=eu-central-1",
    }
    for name, value in settings_of(rendered[overlay]).items():
        monkeypatch.setenv(name, value)
    for each in container["env"]:
        path = tmp_path / Path(each["value"]).name
        path.write_text(secrets.get(path.name, SECRET))
        monkeypatch.setenv(each["name"], str(path))
    settings = Settings(_env_file=None)
    assert settings.environment == ("staging" if overlay == "staging" else "production")
    assert not settings.is_embedded
    assert settings.web_concurrency == 1, "the autoscaler counts pods of one process"


def test_every_probe_asks_an_address_of_the_service_on_its_port(
    rendered: dict[str, list[Document]], addresses: set[str]
) -> None:
    for documents in rendered.values():
        for deployment in of_kind(documents, "Deployment"):
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            ports = {each["name"]: each["containerPort"] for each in container["ports"]}
            if container["name"] != "api":
                continue
            paths = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
            assert {probe["path"] for probe in paths.values()} <= addresses
            assert ports[paths["liveness"]["port"]] == int(settings_of(documents)["PORT"]) == 8000
            assert paths["liveness"]["path"] == "/health", "liveness depends on nothing"
            # What the image and Compose ask is the same.
            assert paths["liveness"]["path"] in (ROOT / "Dockerfile").read_text(encoding="utf-8")
            assert paths["readiness"]["path"] in compose()["services"]["api"]["healthcheck"]["test"][-1]
        for monitor in of_kind(documents, "ServiceMonitor"):
            assert {each["path"] for each in monitor["spec"]["endpoints"]} <= addresses


def test_the_ports_agree_from_the_way_in_to_the_container(rendered: dict[str, list[Document]]) -> None:
    for overlay, documents in rendered.items():
        (service,) = (each for each in of_kind(documents, "Service") if each["metadata"]["name"].startswith("api"))
        (port,) = service["spec"]["ports"]
        for route in of_kind(documents, "HTTPRoute"):
            for backend in (each for rule in route["spec"]["rules"] for each in rule.get("backendRefs", ())):
                assert (backend["name"], backend["port"]) == (service["metadata"]["name"], port["port"])
        for ingress in of_kind(documents, "Ingress"):
            backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            assert backend == {"name": service["metadata"]["name"], "port": {"name": port["name"]}}
        if overlay != "canary":
            policy = named(documents, "NetworkPolicy", "api")["spec"]["ingress"][0]["ports"]
            assert [each["port"] for each in policy] == [port["targetPort"]]


def test_routes_that_take_their_time_are_addresses_of_the_service(
    rendered: dict[str, list[Document]], addresses: set[str]
) -> None:
    slow, _ = named(rendered["production"], "HTTPRoute", "library")["spec"]["rules"]
    assert {match["path"]["value"] for match in slow["matches"]} <= addresses
    proxied = (ROOT / "nginx" / "snippets" / "locations.conf").read_text(encoding="utf-8")
    assert all(match["path"]["value"] in proxied for match in slow["matches"])


def test_every_selector_finds_pods(rendered: dict[str, list[Document]]) -> None:
    for overlay, documents in rendered.items():
        labels = [pod["metadata"]["labels"] for _, pod in pods(documents)]
        selectors = [each["spec"]["selector"] for each in of_kind(documents, "Service")]
        choosing = of_kind(documents, "Deployment", "PodDisruptionBudget")
        selectors += [each["spec"]["selector"]["matchLabels"] for each in choosing]
        policies = of_kind(documents, "NetworkPolicy")
        selectors += [each["spec"]["podSelector"].get("matchLabels", {}) for each in policies]
        for selector in selectors:
            is_operators = any(key.startswith("cnpg.io/") for key in selector)
            found = [each for each in labels if selector.items() <= each.items()]
            assert found or is_operators, f"{overlay}: nothing has {selector}"
        for deployment in of_kind(documents, "Deployment"):
            selector = deployment["spec"]["selector"]["matchLabels"]
            assert len([each for each in labels if selector.items() <= each.items()]) == 1


def test_every_secret_that_a_pod_reads_has_its_keys(rendered: dict[str, list[Document]]) -> None:
    written = {
        each["metadata"]["name"]: set(each["stringData"])
        for each in yaml.safe_load_all((ROOT / "k8s" / "secrets.example.yaml").read_text(encoding="utf-8"))
    }
    for overlay, documents in rendered.items():
        fetched = {
            each["spec"]["target"]["name"]: {entry["secretKey"] for entry in each["spec"]["data"]}
            for each in of_kind(documents, "ExternalSecret")
        }
        assert fetched.items() <= written.items()
        for who, pod in pods(documents):
            for container in pod["spec"]["containers"]:
                mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
                for volume in (each for each in pod["spec"]["volumes"] if "secret" in each):
                    prefix = f"{mounted[volume['name']]}/"
                    read = {value for each in container.get("env", ()) if (value := each["value"]).startswith(prefix)}
                    read |= {
                        word for argument in container.get("args", ()) for word in argument.split() if prefix in word
                    }
                    keys = {value.removeprefix(prefix) for value in read}
                    assert keys
                    assert keys <= written[volume["secret"]["secretName"]], f"{overlay}: {who}"


def test_what_a_pod_names_is_there(rendered: dict[str, list[Document]]) -> None:
    for overlay, documents in rendered.items():
        beside = documents + (rendered["production"] if overlay == "canary" else [])
        for _, pod in pods(documents):
            account = pod["spec"].get("serviceAccountName")
            assert account is None or named(beside, "ServiceAccount", account)
            for volume in pod["spec"]["volumes"]:
                if claim := volume.get("persistentVolumeClaim"):
                    modes = named(beside, "PersistentVolumeClaim", claim["claimName"])["spec"]["accessModes"]
                    assert modes == ["ReadWriteMany"], "several pods at once"
            for container in pod["spec"]["containers"]:
                for source in container.get("envFrom", ()):
                    assert named(documents, "ConfigMap", source["configMapRef"]["name"])


def test_a_pod_has_the_time_that_the_service_takes_to_end(rendered: dict[str, list[Document]]) -> None:
    settings = settings_of(rendered["production"])
    pod = named(rendered["production"], "Deployment", "api")["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pause + int(settings["SHUTDOWN_DELAY"]) + int(settings["GRACEFUL_TIMEOUT"])
    assert needed < pod["terminationGracePeriodSeconds"]
    assert pod["containers"][0]["readinessProbe"]["periodSeconds"] < int(settings["SHUTDOWN_DELAY"])
