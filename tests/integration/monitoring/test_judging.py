"""A real Prometheus that judges canaries: it scrapes two releases each second, and the deploy's judge asks it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.commands.deploy import rules
from app.commands.deploy.judge import Limits, Verdict
from app.commands.deploy.rules import Rules, instances
from tests import evidence
from tests.integration.monitoring.stack import processes
from tests.servers import eventually, free_port

STABLE, CANARY = "127.0.0.1", "127.0.0.2"
A_SECOND: Final = 100
LIMITS: Final = Limits(sample=200, seconds=6)
LABELS: Final = 'method="GET",endpoint="/api/v1/books"'


@dataclass
class Release:
    """Answers a hundred requests a second from the moment that it is asked of readers, so many of them badly."""

    failed: int = 0
    slow: int = 0
    began: float | None = None

    def metrics(self) -> str:
        each = 0 if self.began is None else time.monotonic() - self.began
        answered, failed, slow = (int(each * rate) for rate in (A_SECOND, self.failed, self.slow))
        name = "http_request_duration_seconds_bucket"
        return f"""http_requests_total{{{LABELS},status="200"}} {answered - failed}
http_requests_total{{{LABELS},status="500"}} {failed}
{name}{{{LABELS},le="0.025"}} {answered - slow}
{name}{{{LABELS},le="1.0"}} {answered - slow}
{name}{{{LABELS},le="2.5"}} {answered}
{name}{{{LABELS},le="+Inf"}} {answered}
"""


@contextmanager
def answering(release: Release, address: str, port: int) -> Iterator[None]:
    class Scraped(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Nothing: it is asked every second."""

        def do_GET(self) -> None:
            body = release.metrics().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer((address, port), Scraped) as server:
        listener = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        listener.start()
        yield
        server.shutdown()
        listener.join()


@contextmanager
def beside(canary: Release, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that has seen a good release for a while, and this one start beside it."""
    port, metrics = free_port(), free_port()
    job = {"job_name": "library", "static_configs": [{"targets": [f"{host}:{metrics}" for host in (STABLE, CANARY)]}]}
    shipped = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(shipped))
    command = ["prometheus", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with (
        answering(Release(began=time.monotonic()), STABLE, metrics),
        answering(canary, CANARY, metrics),
        processes(folder, {"prometheus": ([*command, "--config.file=prometheus.yml"], port, {})}),
    ):
        ready = f"count(max_over_time(up{{{instances({CANARY})}}}[1m]) == 1)"
        eventually(lambda: bool(rules._ask(url, ready)), lambda: "it was never scraped")
        yield url


def judged(url: str) -> Verdict:
    return rules.watch(Rules(instances({CANARY}), instances({STABLE}), LIMITS), url, pause_seconds=0.1)


@pytest.mark.parametrize(
    ("canary", "is_good", "why"),
    [
        (Release(), True, "canary: "),
        (Release(failed=30), False, "it fails more often (canary: "),
        (Release(slow=10), False, "it is slower (canary: "),
    ],
    ids=["good", "failing", "slow"],
)
def test_a_real_prometheus_tells_a_good_canary_from_a_bad_one(
    tmp_path: Path, canary: Release, *, is_good: bool, why: str
) -> None:
    with beside(canary, tmp_path) as url:
        canary.began = time.monotonic()
        verdict = judged(url)
        seconds = round(time.monotonic() - canary.began, 1)
    assert verdict.is_good is is_good, verdict
    assert verdict.why.startswith(why)
    name = "promoted" if is_good else f"condemned: {why.partition(' (')[0]}"
    evidence.keep("R3", "judged by Prometheus, scraped each second", **{name: seconds}, limit_seconds=60)


def test_a_canary_that_nobody_asks_is_not_good(tmp_path: Path) -> None:
    with beside(Release(), tmp_path) as url:
        verdict = judged(url)
    assert verdict.is_good is False
    assert verdict.why.startswith("too few requests to judge by, 200 are needed (canary: 0 answers")


def test_a_canary_is_not_good_if_prometheus_is_silent() -> None:
    verdict = judged(f"http://127.0.0.1:{free_port()}")
    assert verdict.is_good is False
    assert "does not say how the canary does" in verdict.why
