"""A stand-in for Kubernetes' API server: it keeps what kubectl sends, and calls every Deployment rolled out."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from app.commands.deploy.judge import Limits
from app.commands.deploy.rules import Rules

# Kind, its plural and whether it belongs to a namespace, by the group's version.
KINDS: Final = {
    "v1": [
        ("Namespace", "namespaces"), ("Service", "services"), ("ConfigMap", "configmaps"),
        ("ServiceAccount", "serviceaccounts"), ("PersistentVolumeClaim", "persistentvolumeclaims"),
    ],
    "apps/v1": [("Deployment", "deployments")],
    "batch/v1": [("Job", "jobs"), ("CronJob", "cronjobs")],
    "autoscaling/v2": [("HorizontalPodAutoscaler", "horizontalpodautoscalers")],
    "policy/v1": [("PodDisruptionBudget", "poddisruptionbudgets")],
    "networking.k8s.io/v1": [("NetworkPolicy", "networkpolicies")],
    "gateway.networking.k8s.io/v1": [("Gateway", "gateways"), ("HTTPRoute", "httproutes")],
    "monitoring.coreos.com/v1": [("ServiceMonitor", "servicemonitors"), ("PrometheusRule", "prometheusrules")],
    "external-secrets.io/v1": [("SecretStore", "secretstores"), ("ExternalSecret", "externalsecrets")],
}  # fmt: skip
PLURALS: Final = {plural: kind for kinds in KINDS.values() for kind, plural in kinds}

Document = dict[str, Any]


class Cluster:
    """`objects` by kind and name; `weights` are all that the route of readers was ever given.

    Its Prometheus has an alert that pages if `is_ill`; of a canary that gets requests it has seen `answers`, and that
    it fails if `is_canary_bad`. What the rules say themselves is tried in tests/unit/deploy/test_rules.py.
    """

    rules = Rules('namespace="library",service="api-canary"', 'namespace="library",service="api"', Limits())

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Document] = {}
        self.weights: list[dict[str, int]] = []
        self.is_ill = False
        self.is_canary_bad = False
        self.answers = 1000
        self.asked: list[str] = []

    def holds(self, rule: str) -> bool:
        self.asked.append(rule)
        is_asked = "api-canary" in self.weights[-1]
        return {
            self.rules.bad()["SomethingPages"]: self.is_ill,
            self.rules.bad()["CanaryFailing"]: self.is_canary_bad and is_asked,
            self.rules.unseen(): self.answers < self.rules.limits.sample or not is_asked,
        }.get(rule, False)

    def keep(self, kind: str, document: Document) -> Document:
        name = document["metadata"]["name"]
        document["metadata"].setdefault("uid", f"{kind}-{name}")
        if kind == "Deployment":
            replicas = document["spec"].setdefault("replicas", 3)
            ready = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            document["status"] = dict.fromkeys(ready, replicas) | {"observedGeneration": 1}
            document["metadata"]["generation"] = 1
        if (kind, name) == ("HTTPRoute", "library"):
            rules = [
                {each["name"]: each["weight"] for each in rule["backendRefs"]} for rule in document["spec"]["rules"]
            ]
            assert all(rule == rules[0] for rule in rules), "one release for every address"
            self.weights.append(rules[0])
        self.objects[kind, name] = document
        return document


class Answers(BaseHTTPRequestHandler):
    cluster: Cluster

    def log_message(self, *arguments: Any) -> None:
        """Nothing: kubectl tells what went wrong."""

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/api/v1/query":
            self._say({"data": {"result": [{"value": [0, "1"]}] if self.cluster.holds(query["query"][0]) else []}})
        elif (told := _discovery(path)) is not None:
            self._say(told)
        else:
            kind, name = _named(path)
            if name:
                self._one(kind, name)
            else:
                wanted = query.get("labelSelector", [""])[0]
                only = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
                items = [
                    each
                    for (found, name), each in self.cluster.objects.items()
                    if found == kind and only in {"", name} and _has(each["metadata"].get("labels", {}), wanted)
                ]
                self._say({"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": items})

    def do_POST(self) -> None:
        kind, _ = _named(urlsplit(self.path).path)
        self._say(self.cluster.keep(kind, self._sent()), 201)

    def do_PATCH(self) -> None:
        kind, name = _named(urlsplit(self.path).path)
        document, patch = self.cluster.objects[kind, name.partition("/")[0]], self._sent()
        if isinstance(patch, list):
            for each in patch:
                *parents, last = each["path"].strip("/").split("/")
                place: Any = document
                for part in parents:
                    place = place[int(part) if isinstance(place, list) else part]
                place[int(last) if isinstance(place, list) else last] = each["value"]
        else:
            _merge(document, patch)
        self._say(self.cluster.keep(kind, document))

    def do_DELETE(self) -> None:
        kind, name = _named(urlsplit(self.path).path)
        self._say(self.cluster.objects.pop((kind, name)))

    def _one(self, kind: str, name: str) -> None:
        if found := self.cluster.objects.get((kind, name)):
            self._say(found)
        else:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self._say(status | {"message": f"{kind} {name} not found"}, 404)

    def _sent(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _say(self, told: Document, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _discovery(path: str) -> Document | None:
    groups = [version.split("/") for version in KINDS if "/" in version]
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        named = [
            {"name": group, "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
             "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version}}
            for group, version in groups
        ]  # fmt: skip
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in KINDS:
        return None
    verbs = ["get", "list", "create", "patch", "delete"]
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": kind != "Namespace", "kind": kind, "verbs": verbs}
        for kind, plural in KINDS[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _named(path: str) -> tuple[str, str]:
    """The kind and, if it is one, the name."""
    parts = path.strip("/").split("/")
    if "namespaces" in parts[:-2] and parts[-1] != "namespaces":
        parts = parts[parts.index("namespaces") + 2 :]
    index = next(number for number, part in enumerate(parts) if part in PLURALS)
    return PLURALS[parts[index]], "/".join(parts[index + 1 :])


def _has(labels: dict[str, str], wanted: str) -> bool:
    return all(
        labels.get(key) == value for key, _, value in (each.partition("=") for each in wanted.split(",") if each)
    )


def _merge(document: Document, patch: Document) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            _merge(document[key], value)
        elif not key.startswith("$"):
            document[key] = value


@contextmanager
def running(kubeconfig: Path) -> Iterator[tuple[Cluster, str]]:
    """The cluster and its address; `kubeconfig` is written for kubectl."""
    cluster = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Answers,), {"cluster": cluster}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
    }  # fmt: skip
    kubeconfig.write_text(json.dumps(config))
    try:
        yield cluster, address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
