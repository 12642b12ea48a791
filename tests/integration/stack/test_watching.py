"""What watches the stack, by the shipped files as they are: every service is found, an alert reaches who is on duty.

`tests/integration/monitoring` tries the alerts, with a faster clock.
"""

import httpx2

from tests import evidence
from tests.integration.monitoring.stack import NOT_HERE, Prometheus
from tests.integration.stack.running import Stack
from tests.servers import eventually

# Prometheus asks each target four times a minute, and tells of one that is down after five minutes.
FOUND_SECONDS, FIRED_SECONDS = 60, 400
ANSWERS = {
    "postgres": "pg_up", "replica": "pg_up", "redis": "redis_up", "nginx": "nginx_up", "certificate": "probe_success",
    "node": 'node_filesystem_size_bytes{mountpoint="/"} > bool 0', "library": "workers > bool 0",
}  # fmt: skip


def prometheus(stack: Stack) -> Prometheus:
    return Prometheus(9090, stack.running["prometheus"].address)


def test_every_target_is_found_by_its_services_name_and_answers(stack: Stack) -> None:
    asked = prometheus(stack)
    apis = {f"{each.address}:8000" for each in stack.running.values() if each.service.name == "api"}

    def found() -> tuple[set[str], set[str], set[str]]:
        targets = {(up["metric"]["job"], up["metric"]["instance"]): up["value"][1] for up in asked.query("up")}
        down = {job for (job, _), up in targets.items() if up == "0"}
        answered = {job for job, query in ANSWERS.items() for told in asked.query(query)
                    if told["metric"]["job"] == job and told["value"][1] == "1"}  # fmt: skip
        return down, {instance for job, instance in targets if job == "library"}, answered

    eventually(lambda: found() == (NOT_HERE, apis, set(ANSWERS)), found, FOUND_SECONDS)
    names = {up["metric"]["instance"].partition(":")[0] for up in asked.query('up{job!="library"}')}
    assert stack.watching() <= names
    evidence.keep("R12-live", "stack", targets=len(asked.query("up")), up=len(asked.query("up == 1")))


def test_an_alert_goes_from_the_rule_to_whoever_is_on_duty(stack: Stack) -> None:
    asked, pager = prometheus(stack), stack.pager
    assert pager is not None
    url = f"http://{stack.running['alertmanager'].address}:9093/api/v2/alerts"

    def told() -> set[str]:
        labels = [alert["labels"] for alert in httpx2.get(url).json()]
        return {each["job"] for each in labels if each["alertname"] == "TargetDown"}

    # They are asked one after another, so that one of them may be told of later.
    eventually(lambda: "TargetDown" in pager.fired and told() == NOT_HERE, asked.firing, FIRED_SECONDS)
    evidence.keep("R12-live", "stack", fired=sorted(pager.fired))
