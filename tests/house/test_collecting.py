"""What watches the service finds what it asks for: hosts, files, labels. Loki, Alloy and Tempo can't be run here."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.house.source import ROOT

KEPT = "200h"
# Written by `make env`, or the machine's own.
MADE = ("./secrets", "./env", "/")
ADDRESS = re.compile(r"https?://([\w.-]+):(\d+)")
# Whom to tell and who keeps figures for years is the operator's: not in Compose, and said so in docs/delivery.md.
ELSEWHERE = {"pager", "thanos-receive"}
LISTENING = {"loki": 3100, "tempo": 3200, "prometheus": 9090, "alertmanager": 9093}
STAGE = re.compile(r"stage\.(\w+) \{(.*?)\n  \}", re.DOTALL)
PAIR = re.compile(r'(\w+)\s*=\s*"((?:\\"|[^"])*)"')


def loaded(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def services() -> dict[str, Any]:
    found: dict[str, Any] = loaded("docker-compose.yml")["services"]
    return found


def scraped() -> dict[str, str]:
    """Host and port of what Prometheus asks, by job."""
    found = {}
    for job in loaded("prometheus/prometheus.yml")["scrape_configs"]:
        for given in job.get("static_configs", ()):
            (found[job["job_name"]],) = given["targets"]
        for given in job.get("dns_sd_configs", ()):
            found[job["job_name"]] = f"{given['names'][0]}:{given['port']}"
    return found


def test_every_scrape_target_is_a_service_that_prometheus_reaches() -> None:
    networks = set(services()["prometheus"]["networks"])
    for job, target in scraped().items():
        host = target.partition(":")[0]
        assert host in services(), f"{job} asks {host}, which docker-compose.yml doesn't name"
        assert networks & set(services()[host]["networks"]), f"{job}: no network leads from prometheus to {host}"


def test_everything_of_the_monitoring_profile_is_scraped() -> None:
    asked = {target.partition(":")[0] for target in scraped().values()}
    watching = {name for name, service in services().items() if "monitoring" in service.get("profiles", ())}
    assert watching <= asked
    assert "api" in asked


def test_every_file_that_compose_mounts_exists() -> None:
    for name, service in services().items():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("./") and not source.startswith(MADE):
                assert (ROOT / source).exists(), f"{name} mounts {source}"


def test_every_configuration_that_a_command_names_is_mounted() -> None:
    for name, service in services().items():
        mounts = [mount.split(":")[:2] for mount in service.get("volumes", ()) if mount.startswith("./")]
        for word in map(str, service.get("command", ())):
            path = word.rpartition("=")[2]
            for source, target in mounts:
                if path.startswith(f"{target}/"):
                    assert (ROOT / source / Path(path).relative_to(target)).is_file(), f"{name}: {word}"


def test_every_address_in_their_files_is_a_service_that_listens_there() -> None:
    files = ["loki/loki.yml", "alloy/config.alloy", "tempo/tempo.yml", "grafana/datasources/datasources.yml"]
    for name in [*files, "alertmanager/alertmanager.yml", "prometheus/remote-write.yml"]:
        for host, port in ADDRESS.findall((ROOT / name).read_text(encoding="utf-8")):
            if host in ELSEWHERE:
                continue
            assert host in services(), f"{name} names {host}"
            assert (host, port) in {(host, str(LISTENING[host])), ("tempo", "4318")}, f"{name}: {host} on {port}"


def test_figures_lines_and_traces_are_kept_equally_long() -> None:
    assert f"--storage.tsdb.retention.time={KEPT}" in services()["prometheus"]["command"]
    loki = loaded("loki/loki.yml")
    assert loki["limits_config"]["retention_period"] == KEPT
    # Without these two the period is only a word. Source: Loki, Log retention.
    assert loki["compactor"]["retention_enabled"]
    assert loki["compactor"]["delete_request_store"] == loki["schema_config"]["configs"][-1]["object_store"]
    assert loaded("tempo/tempo.yml")["compactor"]["compaction"]["block_retention"] == KEPT


def test_loki_keeps_lines_where_its_volume_is_and_finds_its_rules() -> None:
    loki, mounts = loaded("loki/loki.yml"), services()["loki"]["volumes"]
    assert {"./loki:/etc/loki:ro", "loki:/loki"} == set(mounts)
    assert not loki["auth_enabled"]
    (schema,) = loki["schema_config"]["configs"]
    # Structured metadata needs these. Source: Loki, upgrade to 3.0.
    assert (schema["store"], schema["schema"], schema["index"]["period"]) == ("tsdb", "v13", "24h")
    written = (loki["common"]["path_prefix"], loki["compactor"]["working_directory"], loki["ruler"]["rule_path"])
    assert all(path.startswith("/loki") for path in written)
    rules = loki["ruler"]["storage"]["local"]["directory"].replace("/etc/loki", "loki")
    assert list((ROOT / rules / "fake").glob("*.yml")), "without tenants, Loki reads the folder `fake`"
    assert loki["ruler"]["alertmanager_url"] == "http://alertmanager:9093"
    assert not loki["analytics"]["reporting_enabled"]


def test_tempo_takes_what_the_service_sends_and_keeps_it_on_its_volume() -> None:
    tempo = loaded("tempo/tempo.yml")
    assert tempo["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"
    kept = tempo["storage"]["trace"]
    assert kept["backend"] == "local"
    assert all(kept[part]["path"].startswith("/var/tempo/") for part in ("local", "wal"))
    assert "tempo:/var/tempo" in services()["tempo"]["volumes"]
    assert set(services()["api"]["networks"]) & set(services()["tempo"]["networks"])


def through_alloy(line: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """The line, labels and metadata that Loki gets, by the stages of alloy/config.alloy."""
    found: dict[str, Any] = {}
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for kind, body in STAGE.findall((ROOT / "alloy" / "config.alloy").read_text(encoding="utf-8")):
        given = {name: value.replace('\\"', "").strip('"') for name, value in PAIR.findall(body)}
        source = given.pop("source", None)
        if kind == "json":
            try:
                read = json.loads(found[source] if source else line)
            except ValueError:
                continue
            values = {name: read.get(path or name) for name, path in given.items()}
            found |= {name: json.dumps(v) if isinstance(v, dict) else v for name, v in values.items() if v is not None}
        elif kind == "output":
            line = found[source or ""]
        elif kind in {"labels", "structured_metadata"}:
            kept = labels if kind == "labels" else metadata
            kept |= {name: found[path or name] for name, path in given.items() if (path or name) in found}
        else:
            assert kind in {"timestamp", "label_drop"}, kind
    return line, labels, metadata


def wrapped(text: str, service: str) -> str:
    """A line as Docker's json-file driver writes it, with the option that docker-compose.yml gives it."""
    label = services()[service]["logging"]["options"]["labels"]
    return json.dumps({"log": text, "stream": "stdout", "attrs": {label: service}, "time": "2026-11-24T19:00:00.1Z"})


def test_a_line_of_the_service_reaches_loki_with_its_service_level_and_trace() -> None:
    said = json.dumps({"event": "request", "level": "warning", "trace_id": "0af7", "request_id": "01", "status": 500})
    line, labels, metadata = through_alloy(wrapped(said, "scheduler"))
    assert (line, labels) == (said, {"service": "scheduler", "level": "warning"})
    assert metadata == {"event": "request", "trace_id": "0af7", "request_id": "01"}
    link = loaded("grafana/datasources/datasources.yml")["datasources"][2]["jsonData"]["derivedFields"][0]
    found = re.search(link["matcherRegex"], line)
    assert found
    assert found[1] == "0af7"


def test_a_line_of_somebody_else_reaches_loki_as_it_is() -> None:
    for service in ("db", "nginx", "redis"):
        line, labels, _ = through_alloy(wrapped("LOG:  checkpoint starting\n", service))
        assert (line, labels) == ("LOG:  checkpoint starting\n", {"service": service})


def test_figures_go_to_thanos_only_where_somebody_appends_the_file(tmp_path: Path) -> None:
    shipped = (ROOT / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert "remote_write" not in shipped
    appended = tmp_path / "prometheus.yml"
    appended.write_text(shipped + (ROOT / "prometheus" / "remote-write.yml").read_text(encoding="utf-8"))
    (tmp_path / "alerts.yml").write_bytes((ROOT / "prometheus" / "alerts.yml").read_bytes())
    result = subprocess.run(["promtool", "check", "config", appended], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
