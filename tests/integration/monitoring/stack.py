"""The service with what watches it, from the shipped files: real Prometheus, Alertmanager and exporters.

Three things are changed in the files, and nothing else: the addresses of `hosts` (a service's name in Compose becomes a
port of this machine, also where DNS would be asked for it), who is `NOT_HERE`, and time, which runs `FASTER` times as
fast: minutes are written as seconds, hours as minutes.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.integration.observability.collector import Collector
from tests.servers import free_port, wait_for

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ("prometheus/prometheus.yml", "prometheus/alerts.yml", "alertmanager/alertmanager.yml")
FASTER = {"m": "s", "h": "m", "d": "h"}
# They can't be had here; tests/house/test_collecting.py reads their files.
NOT_HERE = {"loki", "alloy", "tempo", "grafana"}
STOP_SECONDS = 10
STEP_SECONDS = 2
DURATION = re.compile(r"(?<=[\[ ])(\d+)([mhd])(?=[\]\s])")


class Pager:
    """The receiver of the alerts: which fired and which were resolved."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    @property
    def port(self) -> int:
        return self._collector.port

    @property
    def fired(self) -> set[str]:
        return self._told("firing")

    @property
    def resolved(self) -> set[str]:
        return self._told("resolved")

    def _told(self, status: str) -> set[str]:
        alerts = [alert for _, body in list(self._collector.taken) for alert in json.loads(body)["alerts"]]
        return {alert["labels"]["alertname"] for alert in alerts if alert["status"] == status}


class Prometheus:
    """Prometheus' answers."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._url = f"http://{host}:{port}/api/v1"

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx2.post(f"{self._url}/query", data={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        return float(self.query(expression)[0]["value"][1])

    def over_time(self, expression: str, *, begin: float, end: float) -> list[dict[str, Any]]:
        asked = {"query": expression, "start": str(begin), "end": str(end), "step": str(STEP_SECONDS)}
        answer = httpx2.post(f"{self._url}/query_range", data=asked, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[str]:
        return {alert["metric"]["alertname"] for alert in self.query('ALERTS{alertstate="firing"}')}


def shipped(folder: Path, hosts: Mapping[str, int]) -> None:
    """Put the shipped files into `folder`, with this machine's ports and the faster clock."""
    for name in SHIPPED:
        text = _of_this_machine((ROOT / name).read_text(encoding="utf-8"))
        text = text.replace("_interval: 15s", "_interval: 1s").replace("_timeout: 5s", "_timeout: 1s")
        text = DURATION.sub(lambda match: f"{match[1]}{FASTER[match[2]]}", text)
        text = re.sub(r"group_wait: \S+", "group_wait: 1s", text)
        for host, port in hosts.items():
            text = text.replace(host, f"127.0.0.1:{port}")
        (folder / Path(name).name).write_text(text, encoding="utf-8")


def _of_this_machine(text: str) -> str:
    given = yaml.safe_load(text)
    if "scrape_configs" not in given:
        return text
    given["scrape_configs"] = [job for job in given["scrape_configs"] if job["job_name"] not in NOT_HERE]
    for job in given["scrape_configs"]:
        for asked in job.pop("dns_sd_configs", ()):
            job["static_configs"] = [{"targets": [f"{name}:{asked['port']}" for name in asked["names"]]}]
    return yaml.safe_dump(given, sort_keys=False)


@contextmanager
def processes(folder: Path, commands: Mapping[str, tuple[list[str], int, dict[str, str]]]) -> Iterator[None]:
    """Start each command, wait for its port, and stop all of them at the end."""
    with ExitStack() as stack:
        for name, (command, port, variables) in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/bin:/usr/sbin:/bin"} | variables,
            )
            stack.callback(_end, process)
            wait_for(port, process)
        yield


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Asked first: nginx's master takes its workers with it only if it may."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def nginx_files(folder: Path, port: int, tls_port: int) -> None:
    """A small nginx for its exporter and for the certificate: the shipped one has its own tests."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=localhost",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "nginx.conf").write_text(
        f"""daemon off; pid {folder}/nginx.pid; error_log stderr;
        events {{}}
        http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
          uwsgi_temp_path {folder}; scgi_temp_path {folder};
          server {{ listen 127.0.0.1:{port}; location /stub_status {{ stub_status; }} }}
          server {{ listen 127.0.0.1:{tls_port} ssl; ssl_certificate {folder}/cert.pem;
            ssl_certificate_key {folder}/key.pem; }} }}""",
        encoding="utf-8",
    )


def ports(*names: str) -> dict[str, int]:
    return {name: free_port() for name in names}
