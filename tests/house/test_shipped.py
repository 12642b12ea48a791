"""The files that are shipped, read by the tools made for each kind: nothing is found, without an exception."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
BIN: Final = Path(sys.executable).parent


def run(*command: str) -> str:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["Dockerfile", "nginx/waf/modsecurity/Dockerfile"])
def test_a_dockerfile_follows_the_rules_for_dockerfiles(name: str) -> None:
    assert run("hadolint", name) == ""


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.dev.yml", "docker-compose.waf.yml"])
def test_a_compose_file_is_what_the_compose_specification_says(name: str) -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", name)


def test_the_proxy_has_no_known_misconfiguration(tmp_path: Path) -> None:
    """Once as it stands, and once with a hole that must be found."""
    shutil.copytree(ROOT / "nginx", tmp_path / "nginx")
    (tmp_path / "nginx" / "mime.types").write_text("types { text/html html; }\n")
    main = tmp_path / "nginx" / "nginx.conf"
    run("gixy", str(main))
    main.write_text(main.read_text().replace("return 308 https://$host$request_uri;", "return 308 https://$host$uri;"))
    with pytest.raises(AssertionError, match="http_splitting"):
        run("gixy", str(main))
