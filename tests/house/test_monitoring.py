"""Metrics, dashboards, alerts and runbook know each other, both ways; whatever is watched is there."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from app.core import figures, metrics
from app.core.config import Settings
from app.core.job_runs import JobRun
from app.core.vitals import Vitals
from scripts import dashboards
from tests.house.source import ROOT

ALERTS = ROOT / "prometheus" / "alerts.yml"
LOG_ALERTS = ROOT / "loki" / "rules" / "fake" / "alerts.yml"
WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
STRING = re.compile(r'"[^"]*"')
# Of Prometheus itself and of the exporters; the live test sees that they are there.
FOREIGN = re.compile(r"(pg|redis|node|probe|nginx)_\w+|up|ALERTS|pg_replication_lag\S*")
# What PromQL calls its own; `by (…)` and `{…}` are taken out before.
LANGUAGE = {
    "sum", "rate", "increase", "histogram_quantile", "and", "or", "absent", "time", "vector", "count", "max_over_time",
    "predict_linear", "by", "max",
}  # fmt: skip


def rules(file: Path = ALERTS) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for file in (ALERTS, LOG_ALERTS) for rule in rules(file) if "alert" in rule]


def names_in(query: str) -> set[str]:
    """The metrics of a query, without histograms' suffixes."""
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on|without)\s*\([^)]*\)|\[[^\]]*\]", " ", STRING.sub("", query))
    found = {word for word in WORD.findall(bare) if word not in LANGUAGE}
    return {re.sub(r"_(?:bucket|count|sum)$", "", name) for name in found}


def own_metrics() -> set[str]:
    wrapped = (each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase))
    ours = {
        family.name + ("_total" if family.type == "counter" else "") for each in wrapped for family in each.describe()
    }
    stock = dict.fromkeys(figures.STOCK, 0) | {"bookings_open waiting": 0}
    runs = [
        JobRun(name=name, result=result, totals={"kind result": 1}, duration_seconds=1.0, max_age_seconds=1)
        for name, result in (
            ("take_stock", {"stock": stock}), ("send_notices", {}), ("invariants", {"violations": []}),
        )
    ]  # fmt: skip
    collectors: list[Collector] = [
        figures.Jobs(runs), figures.Machine(Vitals()), figures.Build(Settings(_env_file=None)),
    ]  # fmt: skip
    for collector in collectors:
        ours |= {family.name + ("_total" if family.type == "counter" else "") for family in collector.collect()}
    return ours


def test_every_query_asks_for_metrics_that_exist() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = own_metrics() | recorded
    for query in [*dashboards.queries("prometheus"), *(rule["expr"] for rule in rules())]:
        unknown = {name for name in names_in(query) if name not in known and not FOREIGN.fullmatch(name)}
        assert not unknown, f"{query} asks for {sorted(unknown)}, which nobody gives"


def test_every_metric_is_shown_by_a_dashboard() -> None:
    asked = {name for query in dashboards.queries("prometheus") for name in names_in(query)}
    asked |= {name for rule in rules() if "record" in rule for name in names_in(rule["expr"])}
    assert own_metrics() - asked == set(), "put it into scripts/dashboards.py, or take it out"


def test_every_alert_has_a_heading_in_the_runbook_and_every_heading_an_alert() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alert["alert"] for alert in alerts())


def test_the_runbook_says_of_every_alert_what_it_means_whom_it_hurts_and_what_to_do() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    for part, alert in zip(parts, re.findall(r"^### (\w+)$", text, re.MULTILINE), strict=True):
        asked = re.findall(r"^\* \*\*(.+?):\*\*", part, re.MULTILINE)
        assert asked == ["Means", "Impact", "Look at", "Do"], alert
        (rule,) = [each for each in alerts() if each["alert"] == alert]
        assert f"Severity: {rule['labels']['severity']}." in part, alert


def test_every_alert_says_how_urgent_it_is_what_happened_and_what_to_do() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in {"page", "ticket"}, alert["alert"]
        assert alert["annotations"].keys() == {"summary", "runbook"}, alert["alert"]
        assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_every_alert_is_proven_to_fire_and_to_be_silent() -> None:
    files = sorted((ROOT / "prometheus").glob("*.test.yml"))
    tests = [test for file in files for test in yaml.safe_load(file.read_text())["tests"]]
    proven = {(case["alertname"], bool(case["exp_alerts"])) for test in tests for case in test["alert_rule_test"]}
    given = [rule["alert"] for rule in rules() if "alert" in rule]
    assert proven == {(alert, fires) for alert in given for fires in (True, False)}


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "config", "prometheus/prometheus.yml"),
        ("promtool", "test", "rules", "prometheus/alerts.test.yml", "prometheus/alerts-slow.test.yml"),
        ("amtool", "check-config", "alertmanager/alertmanager.yml"),
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_prometheus_and_alertmanager_accept_the_files(command: tuple[str, ...], tmp_path: Path) -> None:
    # promtool makes a database for each of its tests: on a disk that takes ten times as long as in memory.
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("severity", "receiver"), [("page", "page"), ("ticket", "ticket"), ("", "ticket")])
def test_a_page_wakes_somebody_and_all_else_can_wait(severity: str, receiver: str) -> None:
    command = ["amtool", "config", "routes", "test", "--config.file=alertmanager/alertmanager.yml"]
    result = subprocess.run(
        [*command, f"severity={severity}", "alertname=x"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == receiver


def test_what_follows_from_a_greater_failure_is_held_back_only_where_such_alerts_exist() -> None:
    groups = {alert["labels"]["group"] for alert in alerts()}
    names = {alert["alert"] for alert in alerts()}
    for rule in yaml.safe_load((ROOT / "alertmanager" / "alertmanager.yml").read_text())["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            label, _, value = matcher.replace('"', "").replace("=~", "=").partition("=")
            known = {"alertname": names, "group": groups, "severity": {"page", "ticket"}}[label]
            assert set(value.split("|")) <= known, matcher


def test_the_dashboards_are_what_their_source_says() -> None:
    kept = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "grafana" / "dashboards").glob("*.json")}
    assert kept == {name: dashboards.text(name) for name in dashboards.DASHBOARDS}, "run python -m scripts.dashboards"


def test_dashboards_ask_a_data_source_that_grafana_is_given() -> None:
    given = yaml.safe_load((ROOT / "grafana" / "datasources" / "datasources.yml").read_text())["datasources"]
    asked = {
        panel["datasource"]["uid"]
        for path in Path(ROOT / "grafana" / "dashboards").glob("*.json")
        for panel in json.loads(path.read_text())["panels"]
    }
    assert asked <= {source["uid"] for source in given}


def test_the_metrics_have_no_fault_that_promtool_knows() -> None:
    text = metrics.exposition([figures.Jobs([]), figures.Machine(Vitals()), figures.Build(Settings(_env_file=None))])
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
