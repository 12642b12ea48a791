"""Every document that would be applied is what its kind's schema says; a kind without one is no pass."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deployment.conftest import NODE_MODULES, OVERLAYS, ROOT, TOOLS, Document, named, node, of_kind, tool

VERSIONS: Final = ("1.36.0", "1.37.0")
CORE: Final = {"", "apps", "autoscaling", "batch", "networking.k8s.io", "policy"}
# Whose schemas npm has: the name of each kind's checking module.
MODELS: Final = {
    "gateway.networking.k8s.io/v1": ("gateway-api", "IoK8sSigsGatewayApiApisV1"),
    "monitoring.coreos.com/v1": (
        "prometheus-operator",
        "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1",
    ),
    "external-secrets.io/v1": ("external-secrets", "ComGithubExternalSecretsExternalSecretsApisExternalsecretsV1"),
}
# Whose schemas no package has: docs/delivery.md says so, and the tests at the end of this file assert their fields.
UNCHECKED: Final = {"Cluster", "Pooler", "ScheduledBackup", "ObjectStore"}
ASK_MODELS: Final = """
import { readFileSync } from "node:fs";
const given = JSON.parse(readFileSync(0, "utf8"));
const told = [];
for (const { module, document } of given) {
  const { validate } = await import(module);
  told.push(validate(document) ? [] : validate.errors);
}
console.log(JSON.stringify(told));
"""


def is_core(document: Document) -> bool:
    return str(document["apiVersion"]).rpartition("/")[0] in CORE


def module_of(document: Document) -> str:
    package, prefix = MODELS[document["apiVersion"]]
    return f"@kubernetes-models/{package}/_schemas/{prefix}{document['kind']}.js"


def told_by_models(documents: list[Document]) -> list[Any]:
    given = [{"module": str(NODE_MODULES / module_of(document)), "document": document} for document in documents]
    found: list[Any] = node(ASK_MODELS, given)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_documents_of_kubernetes_own_kinds_are_what_its_schemas_say(
    version: str, rendered: dict[str, list[Document]], tmp_path: Path
) -> None:
    for overlay, documents in rendered.items():
        path = tmp_path / f"{overlay}.yaml"
        path.write_text(yaml.safe_dump_all(each for each in documents if is_core(each)))
        done = tool("kubernetes-validate", "--kubernetes-version", version, "--strict", path)
        # It lets a kind that it doesn't know pass, with a warning.
        assert done.returncode == 0, f"{overlay}: {done.stdout}{done.stderr}"
        assert "WARN" not in done.stdout + done.stderr


def test_the_two_versions_are_the_newest_that_have_schemas() -> None:
    folder = next((TOOLS.parent / "lib").glob("python3*/site-packages/kubernetes_validate/kubernetes-json-schema"))
    had = {path.name.removeprefix("v").partition("-")[0] for path in folder.glob("v1.*-local")}
    newest = sorted(had, key=lambda version: [int(part) for part in version.split(".")])[-len(VERSIONS) :]
    assert list(VERSIONS) == newest, "a newer kubernetes-validate knows a newer Kubernetes: check that one"


def test_documents_of_other_kinds_are_what_their_packaged_schemas_say(rendered: dict[str, list[Document]]) -> None:
    documents = [each for found in rendered.values() for each in found if each["apiVersion"] in MODELS]
    assert {each["kind"] for each in documents} >= {"HTTPRoute", "Gateway", "ServiceMonitor", "ExternalSecret"}
    for document, problems in zip(documents, told_by_models(documents), strict=True):
        assert problems == [], f"{document['kind']}/{document['metadata']['name']}: {problems}"


def test_packaged_schemas_find_a_document_that_is_wrong(rendered: dict[str, list[Document]]) -> None:
    route = named(rendered["production"], "HTTPRoute", "library")
    wrong = yaml.safe_load(yaml.safe_dump(route))
    wrong["spec"]["rules"][0]["backendRefs"][0]["weight"] = "many"
    ((problem, *_),) = told_by_models([wrong])
    assert problem["instancePath"] == "/spec/rules/0/backendRefs/0/weight"


def test_fields_of_other_kinds_are_known_to_their_packages(rendered: dict[str, list[Document]]) -> None:
    """The packaged schemas let an unknown field pass; their types name each that there is."""
    for documents in rendered.values():
        for document in (each for each in documents if each["apiVersion"] in MODELS):
            package, _ = MODELS[document["apiVersion"]]
            known = words_of(NODE_MODULES / "@kubernetes-models" / package)
            spec = {key: value for key, value in document["spec"].items() if key != "selector"}
            unknown = set(fields_of(spec)) - known
            assert not unknown, f"{document['kind']}/{document['metadata']['name']}: {unknown}"


def words_of(package: Path) -> set[str]:
    text = " ".join(path.read_text(encoding="utf-8") for path in package.rglob("*.d.ts"))
    return {word.strip('"?;:{') for word in text.split()}


def fields_of(value: Any) -> list[str]:
    if isinstance(value, list):
        return [field for each in value for field in fields_of(each)]
    if not isinstance(value, dict):
        return []
    # An alert's labels and annotations have names of our own.
    free = ("labels", "annotations")
    return [*value, *(field for key, each in value.items() if key not in free for field in fields_of(each))]


def test_a_kind_without_a_schema_is_listed_as_unchecked(rendered: dict[str, list[Document]]) -> None:
    kinds = {
        each["kind"]
        for documents in rendered.values()
        for each in documents
        if not is_core(each) and each["apiVersion"] not in MODELS
    }
    assert kinds == UNCHECKED
    listed = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
    assert all(f"`{kind}`" in listed for kind in UNCHECKED)


# Needs an adapter that no cluster has by itself; test_autoscaling.py renders it.
ON_REQUEST = {"requests"}


def test_every_component_is_part_of_some_overlay() -> None:
    used = ON_REQUEST | {
        Path(path).name
        for overlay in OVERLAYS
        for path in yaml.safe_load((ROOT / "k8s" / "overlays" / overlay / "kustomization.yaml").read_text())[
            "components"
        ]
    }
    assert {path.name for path in (ROOT / "k8s" / "components").iterdir()} <= used


# --- What no schema checks. Source: CloudNativePG 1.27, API reference; plugin-barman-cloud, Usage. ---


def test_the_database_is_three_instances_of_which_one_confirms_a_commit(rendered: dict[str, list[Document]]) -> None:
    spec = named(rendered["own-cluster"], "Cluster", "database")["spec"]
    known = {
        "instances", "imageName", "primaryUpdateStrategy", "enablePDB", "enableSuperuserAccess", "storage",
        "walStorage", "resources", "affinity", "bootstrap", "managed", "postgresql", "plugins",
    }  # fmt: skip
    assert set(spec) == known
    assert spec["instances"] == 3
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1}
    assert set(spec["bootstrap"]["initdb"]) == {
        "database", "owner", "secret", "dataChecksums", "encoding", "localeCollate", "localeCType", "postInitSQL",
        "postInitApplicationSQL",
    }  # fmt: skip
    assert all(isinstance(value, str) for value in spec["postgresql"]["parameters"].values())
    for role in spec["managed"]["roles"]:
        assert set(role) == {"name", "ensure", "login", "connectionLimit", "passwordSecret"}


def test_the_pooler_and_the_backups_belong_to_that_database(rendered: dict[str, list[Document]]) -> None:
    documents = rendered["own-cluster"]
    (pooler,), (backup,), (store,) = (of_kind(documents, kind) for kind in ("Pooler", "ScheduledBackup", "ObjectStore"))
    assert pooler["spec"]["cluster"] == backup["spec"]["cluster"] == {"name": "database"}
    assert (pooler["spec"]["type"], pooler["spec"]["pgbouncer"]["poolMode"]) == ("rw", "transaction")
    plugin, archive = named(documents, "Cluster", "database")["spec"]["plugins"][0], store["metadata"]["name"]
    assert plugin["name"] == backup["spec"]["pluginConfiguration"]["name"] == "barman-cloud.cloudnative-pg.io"
    assert plugin["isWALArchiver"]
    assert plugin["parameters"] == {"barmanObjectName": archive}
    assert backup["spec"]["method"] == "plugin"
    assert len(backup["spec"]["schedule"].split()) == 6, "the operator's schedules begin with seconds"
    assert set(store["spec"]) == {"retentionPolicy", "configuration"}
    assert set(store["spec"]["configuration"]) == {"destinationPath", "s3Credentials", "wal", "data"}
