"""What the overlays say of other files agrees with them: jobs, alerts, Compose's servers; and a canary stays apart."""

import ast
import re
import shlex
from typing import Any

import typer.main
import yaml

from app import cli
from app.jobs.registry import JOBS
from app.jobs.schedule import Daily
from tests.deployment.conftest import (
    ROOT,
    Document,
    compose,
    database_image,
    named,
    of_kind,
    service_containers,
    settings_of,
)


def test_the_stable_service_never_reaches_a_canary(rendered: dict[str, list[Document]]) -> None:
    stable = named(rendered["production"], "Service", "api")["spec"]["selector"]
    fresh = named(rendered["canary"], "Deployment", "api-canary")["spec"]["template"]["metadata"]["labels"]
    assert not stable.items() <= fresh.items()
    assert named(rendered["canary"], "Service", "api-canary")["spec"]["selector"].items() <= fresh.items()


def test_a_canary_replaces_nothing_of_production(rendered: dict[str, list[Document]]) -> None:
    def names(overlay: str) -> set[tuple[str, str]]:
        return {(each["kind"], each["metadata"]["name"]) for each in rendered[overlay]}

    assert not names("production") & names("canary")
    live, fresh = settings_of(rendered["production"]), settings_of(rendered["canary"])
    assert live == fresh


def test_every_secret_is_one_of_compose_too() -> None:
    names = set(compose()["secrets"])
    for each in yaml.safe_load_all((ROOT / "k8s" / "secrets.example.yaml").read_text(encoding="utf-8")):
        if each["metadata"]["name"] == "library":
            # A bucket instead of the volume that Compose's containers share.
            assert set(each["stringData"]) - {"storage_url"} <= names


def test_every_command_is_one_of_the_library(rendered: dict[str, list[Document]]) -> None:
    for container in service_containers(rendered["production"]):
        program, name, *rest = container["command"]
        assert (program, name in cli.COMMANDS) == ("library", True)
        if rest:
            module, _, attribute = cli.COMMANDS[name][0].partition(":")
            command: Any = typer.main.get_command(getattr(__import__(module, fromlist=[attribute]), attribute))
            assert rest[0] in command.commands


def test_every_job_of_the_library_is_run_by_the_clock(rendered: dict[str, list[Document]]) -> None:
    zone = settings_of(rendered["production"])["TIMEZONE"]
    by_name = {each["metadata"]["name"]: each["spec"] for each in of_kind(rendered["production"], "CronJob")}
    assert by_name.keys() == {name.replace("_", "-") for name in JOBS}
    for job in JOBS.values():
        spec = by_name[job.name.replace("_", "-")]
        assert (spec["timeZone"], spec["concurrencyPolicy"]) == (zone, "Forbid")
        template = spec["jobTemplate"]["spec"]
        assert template["activeDeadlineSeconds"] > job.max_seconds, "the library ends it first, and says so"
        (container,) = template["template"]["spec"]["containers"]
        assert shlex.join(container["command"]) == f"library job run {job.name}"
        if isinstance(job.schedule, Daily):
            assert spec["schedule"] == f"{job.schedule.at.minute} {job.schedule.at.hour} * * *"
    assert by_name["send-notices"]["schedule"] == "* * * * *"
    assert by_name["expire-holds"]["schedule"] == "*/5 * * * *"
    assert by_name["remind"]["schedule"] == "0 * * * *"


def test_the_alerts_are_the_shipped_ones(rendered: dict[str, list[Document]]) -> None:
    shipped = yaml.safe_load((ROOT / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    for overlay in ("production", "staging", "own-cluster"):
        (rule,) = of_kind(rendered[overlay], "PrometheusRule")
        assert rule["spec"] == shipped


def test_the_scraper_gives_the_job_that_the_alerts_ask_for(rendered: dict[str, list[Document]]) -> None:
    for overlay in ("production", "canary"):
        (service,) = of_kind(rendered[overlay], "Service")
        (monitor,) = of_kind(rendered["production"], "ServiceMonitor")
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "library"
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()


def test_the_judge_is_told_the_two_services_apart(rendered: dict[str, list[Document]]) -> None:
    """Prometheus' operator writes a Service's name and namespace on whatever it answers."""
    script = (ROOT / "scripts" / "k8s-deploy.sh").read_text(encoding="utf-8")
    told = set(re.findall(r'service=\\"([\w-]+)\\"', script))
    services = [service for overlay in ("production", "canary") for service in of_kind(rendered[overlay], "Service")]
    assert told == {service["metadata"]["name"] for service in services}
    (namespace,) = {service["metadata"]["namespace"] for service in services}
    assert f"namespace=${{NAMESPACE:-{namespace}}}" in script
    (monitor,) = of_kind(rendered["production"], "ServiceMonitor")
    assert "relabelings" not in str(monitor)


def test_the_servers_beside_the_service_are_those_of_compose(rendered: dict[str, list[Document]]) -> None:
    services, documents = compose()["services"], rendered["own-cluster"]
    redis = named(documents, "Deployment", "redis")["spec"]["template"]["spec"]["containers"][0]
    assert redis["image"] == services["redis"]["image"]
    said = {tuple(argument.removeprefix("--").split(None, 1)) for argument in redis["args"]}
    lines = (ROOT / "redis" / "redis.conf").read_text(encoding="utf-8").splitlines()
    shipped = {tuple(line.split(None, 1)) for line in lines if line and not line.startswith("#")}
    assert {each for each in said if each[0] != "aclfile"} == {each for each in shipped if each[0] != "aclfile"}
    version = database_image().removeprefix("postgres:").partition("-")[0]
    cluster = named(documents, "Cluster", "database")["spec"]
    assert cluster["imageName"].rpartition(":")[2] == version


def test_the_database_is_set_up_as_compose_sets_it_up(rendered: dict[str, list[Document]]) -> None:
    cluster = named(rendered["own-cluster"], "Cluster", "database")["spec"]
    sql = " ".join((ROOT / "scripts" / "init-db.sql").read_text(encoding="utf-8").split())
    init = cluster["bootstrap"]["initdb"]
    for statement in init["postInitSQL"] + init["postInitApplicationSQL"]:
        begun = " ".join(statement.split()).replace(" CONNECTION", " PASSWORD :'app_password' CONNECTION")
        role = "readonly" if "readonly LOGIN" in statement else "app"
        assert begun.replace("app_password", f"{role}_password") in sql, statement
    conf = {}
    for line in (ROOT / "postgres" / "postgresql.conf").read_text(encoding="utf-8").splitlines():
        name, sign, value = line.partition(" = ")
        if sign and not line.startswith("#"):
            conf[name] = str(ast.literal_eval(value)) if value.startswith("'") else value
    parameters = cluster["postgresql"]["parameters"]
    assert parameters.items() <= conf.items()
