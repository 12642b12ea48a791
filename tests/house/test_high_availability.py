"""docker-compose.ha.yml: what it shares with a single server stays the same; its times leave room for each other."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from tests.house.source import ROOT
from tests.integration.stack.compose import Tagged, merged

OVERRIDE: Final = "docker-compose.ha.yml"
NODES: Final = {"db-1", "db-2", "db-3"}
ETCD: Final = {"etcd-1", "etcd-2", "etcd-3"}
LEAST_TTL_SECONDS: Final = 20
HOLDERS: Final = {
    "db_migrate_password": NODES,
    "db_replicator_password": NODES,
    "db_rewind_password": NODES,
    "patroni_password": NODES,
    "db_superuser_password": set(),
    "database_url_migrate": {"migrate"},
    "database_url": {"api", "api-green", "scheduler", "backup", "restore"},
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def services() -> dict[str, Any]:
    found: dict[str, Any] = merged(OVERRIDE)["services"]
    return found


def patroni() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text("patroni/patroni.yml"))
    return found


def statements(name: str) -> list[str]:
    """The lines of a file that are no comment."""
    return [line for line in text(name).splitlines() if line and not line.startswith("#")]


def test_it_is_what_the_compose_specification_says(tmp_path: Path) -> None:
    """Its own tags are Compose's, and not YAML's: the checker gets what they make."""
    for name, content in (("alone", yaml.load(text(OVERRIDE), Tagged)), ("merged", merged(OVERRIDE))):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        checker = Path(sys.executable).parent / "check-jsonschema"
        command = [str(checker), "--builtin-schema", "vendor.compose-spec", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_every_file_that_it_mounts_exists() -> None:
    for name, service in services().items():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("./") and not source.startswith(("./secrets", "./env")):
                assert (ROOT / source).exists(), f"{name} mounts {source}"
            elif re.fullmatch(r"[\w-]+", source):
                assert source in merged(OVERRIDE)["volumes"], f"{name} mounts {source}"


def test_every_address_of_the_database_leads_somewhere() -> None:
    """Who has an address of the database finds somebody under it, on a network that he is on."""
    before, after = merged()["services"], services()
    assert set(after) == set(before) | NODES | ETCD
    for name, service in before.items():
        if name not in {"db", "replica"}:
            assert service.get("secrets") == after[name].get("secrets"), name
            assert service.get("environment") == after[name].get("environment"), name
    for name in ("db", "replica"):
        assert "haproxy" in after[name]["image"]
        assert "data" in after[name]["networks"]
    roles = {name: after[name]["environment"]["ROLE"] for name in ("db", "replica")}
    assert roles == {"db": "primary", "replica": "replica?lag=16MB"}
    named = re.findall(r"^  server (\S+) (\S+):5432$", text("haproxy/haproxy.cfg"), re.MULTILINE)
    assert named == [(name, name) for name in sorted(NODES)]


def test_each_secret_is_given_to_those_who_need_it() -> None:
    for secret, holders in HOLDERS.items():
        having = {name for name, service in services().items() if secret in service.get("secrets", [])}
        assert having == holders, secret


def test_etcd_is_alone_with_the_nodes_on_a_network_that_leads_nowhere() -> None:
    assert merged(OVERRIDE)["networks"]["quorum"] == {"internal": True}
    there = {name for name, service in services().items() if "quorum" in service.get("networks", ())}
    assert there == NODES | ETCD
    assert {tuple(services()[name]["networks"]) for name in ETCD} == {("quorum",)}


def test_patroni_is_the_first_process_of_its_container() -> None:
    """Its death must be PostgreSQL's: no init before it, and a script that becomes it."""
    for name in NODES:
        assert "init" not in services()[name], name
        assert services()[name]["entrypoint"] == ["/bin/bash", "/etc/library/node.sh"], name
    assert text("patroni/node.sh").splitlines()[-1] == 'exec "$@"'


def test_the_former_primary_has_stopped_before_another_may_begin() -> None:
    said = patroni()["bootstrap"]["dcs"]
    assert said["ttl"] >= LEAST_TTL_SECONDS
    assert said["loop_wait"] + 2 * said["retry_timeout"] < said["ttl"] - said["primary_stop_timeout"]
    assert said["synchronous_mode"] is True
    assert said["failsafe_mode"] is True
    assert "on-marked-down shutdown-sessions" in text("haproxy/haproxy.cfg")


def test_a_node_s_files_are_those_of_a_single_server() -> None:
    assert patroni()["postgresql"]["custom_conf"] == "/etc/library/postgresql.conf"
    assert {"data-checksums", "locale"} <= {
        word if isinstance(word, str) else next(iter(word)) for word in patroni()["bootstrap"]["initdb"]
    }
    single, node = statements("postgres/pg_hba.conf"), statements("patroni/pg_hba.conf")
    assert node[:-1] == single
    assert node[-1].split() == ["host", "postgres", "library_rewind", "samenet", "scram-sha-256"]
    head = text("pgbackrest/pgbackrest.conf").partition("[global]")[2].partition("[library]")[0]
    assert text("patroni/pgbackrest.conf").partition("[global]")[2].partition("[library]")[0] == head
    shared = {"restart", "read_only", "cap_drop", "security_opt", "logging", "image", "user"}
    for name in NODES:
        assert {key: services()[name][key] for key in shared} == {
            key: merged()["services"]["db"][key] for key in shared
        }


def test_no_password_stands_in_its_files() -> None:
    for name in ("patroni/patroni.yml", "haproxy/haproxy.cfg", OVERRIDE):
        assert not re.search(r"password: *\S", text(name).replace("_password: {", "")), name
