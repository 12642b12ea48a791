"""The files that are shipped, read by the tools made for each kind: nothing is found, without an exception."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.integration.stack.compose import merged

ROOT: Final = Path(__file__).resolve().parents[2]
BIN: Final = Path(sys.executable).parent


def run(*command: str) -> str:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["Dockerfile", "nginx/waf/modsecurity/Dockerfile", "etcd/Dockerfile"])
def test_a_dockerfile_follows_the_rules_for_dockerfiles(name: str) -> None:
    assert run("hadolint", name) == ""


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.dev.yml", "docker-compose.waf.yml"])
def test_a_compose_file_is_what_the_compose_specification_says(name: str) -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", name)


@pytest.mark.parametrize(
    "over", [(), ("docker-compose.dev.yml",), ("docker-compose.waf.yml",), ("docker-compose.ha.yml",)]
)
def test_no_service_has_more_rights_than_it_needs(over: tuple[str, ...]) -> None:
    """What checkov asks of a pod; it doesn't read Compose."""
    for name, service in merged(*over)["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert "privileged" not in service, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"]["max-size"], name
        assert not service["image"].endswith(":latest"), name
        near = [entry for entry in service.get("ports", []) if entry.startswith("127.0.0.1:")]
        assert name == "nginx" or near == service.get("ports", []), name


def test_who_develops_has_the_same_services_and_a_page_of_mails() -> None:
    """Compose merges lists of mounts by where they go, and replaces commands."""
    base, dev = merged()["services"], merged("docker-compose.dev.yml")["services"]
    assert dev.keys() == base.keys() | {"mail"}
    api = dev["api"]
    assert api["command"] == ["library", "serve", "--reload"]
    assert api["environment"] == base["api"]["environment"] | {"PROMETHEUS_MULTIPROC_DIR": "", "WEB_CONCURRENCY": "1"}
    assert [*base["api"]["volumes"], "./app:/srv/library/app:ro", "./alembic:/srv/library/alembic:ro"] == api["volumes"]
    assert "data" in dev["mail"]["networks"]
    assert {"data"} <= set(api["networks"]) & set(dev["scheduler"]["networks"])


def test_the_proxy_has_no_known_misconfiguration(tmp_path: Path) -> None:
    """Once as it stands, and once with a hole that must be found."""
    shutil.copytree(ROOT / "nginx", tmp_path / "nginx")
    (tmp_path / "nginx" / "mime.types").write_text("types { text/html html; }\n")
    main = tmp_path / "nginx" / "nginx.conf"
    run("gixy", str(main))
    main.write_text(main.read_text().replace("return 308 https://$host$request_uri;", "return 308 https://$host$uri;"))
    with pytest.raises(AssertionError, match="http_splitting"):
        run("gixy", str(main))
