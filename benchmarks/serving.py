"""What an answer costs: the goals P1 to P4, P13 and P15 of performance, as ratios within one run, into build/evidence.

Run by `make bench-serving`; QUICK=1 takes shorter rounds and the small file. The service runs as it ships, with its
limits raised; records are looked for in ../shared/data.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from app.core.config import Settings
from benchmarks.wrk import Round, Server, serving, uvicorn
from tests import evidence, servers
from tests.conftest import PASSWORD, SHARED, _administer, _migrate, _settings
from tests.integration.conftest import environment, run_import

LIST: Final = "/api/v1/books?limit=20"
STARTS: Final = 5
OURS: Final = [sys.executable, "-m", "benchmarks.peers.ours", "serve", "--port", "PORT"]


@dataclass(frozen=True)
class Load:
    """What one server is asked in each round."""

    server: Server
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Goal:
    """`figure` must be at least `limit`, or at most."""

    name: str
    figure: float
    limit: float
    is_ceiling: bool = False

    @property
    def is_reached(self) -> bool:
        return self.figure <= self.limit if self.is_ceiling else self.figure >= self.limit


def main() -> int:
    parser = argparse.ArgumentParser(description="What an answer costs, against the limit and against peers.")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, the small file")
    quick = parser.parse_args().quick
    seconds, rounds = (2, 3) if quick else (4, 7)
    file = "loc_sample.mrc.xz" if quick else "loc_100k.mrc.xz"
    with servers.postgres() as cluster, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        asyncio.run(_administer(cluster.url, "CREATE DATABASE bench"))
        settings = _settings(Path(folder), database_url=f"{cluster.url}/bench")
        asyncio.run(_migrate(settings))
        told, *_ = run_import(settings, str(SHARED / "data" / file))
        loads = _start(stack, settings, Path(folder))
        measured: dict[str, list[Round]] = {name: [] for name in loads}
        for _ in range(rounds):
            for name, load in loads.items():
                measured[name].append(load.server.load(load.path, seconds=seconds, headers=load.headers))
        memory = loads["ours"].server.memory_bytes()
        stack.close()
        starts = _starts(settings)
    goals = [
        *_judged(measured),
        Goal("P13 cold start, times bare FastAPI", starts, 2.0, is_ceiling=True),
        Goal("P13 one process after the load, MiB PSS", memory / 2**20, 85, is_ceiling=True),
    ]
    _tell(measured, goals, told["records"])
    return 0


def _start(stack: ExitStack, settings: Settings, folder: Path) -> dict[str, Load]:
    """All servers, each with what it is asked; the limit sends the bytes that the service sent."""
    ours = environment(settings) | {"WEB_CONCURRENCY": "1", "SCHEDULER_ENABLED": "false"}

    def start(command: list[str], given: dict[str, str], ready: str) -> Server:
        return stack.enter_context(serving(command, given, ready=ready))

    cached = start(OURS, ours, LIST)
    with urlopen(cached.address + LIST) as answer:  # noqa: S310  # our own server
        body, tag = answer.read(), answer.headers["ETag"]
    (folder / "body").write_bytes(body)
    peer = {"BENCH_BODY": str(folder / "body"), "BENCH_DATABASE": settings.database_url.get_secret_value()}  # type: ignore[union-attr]  # it was given above
    uncached = start(OURS, ours | {"CACHE_ENABLED": "false"}, LIST)
    tutorial = start(uvicorn("benchmarks.peers.tutorial:app"), peer, "/bare")
    shelled = start(uvicorn("benchmarks.peers.shelled:app"), peer, "/bare")
    return _pages(cached, ours) | {
        "raw": Load(start(uvicorn("benchmarks.peers.raw:ready"), peer, "/"), "/", {}),
        "ours": Load(cached, LIST, {}),
        "ours 304": Load(cached, LIST, {"If-None-Match": tag}),
        "json_agg": Load(start(uvicorn("benchmarks.peers.raw:aggregated"), peer, "/"), "/", {}),
        "ours uncached": Load(uncached, LIST, {}),
        "tutorial": Load(tutorial, "/books", {}),
        "bare route": Load(tutorial, "/bare", {}),
        "shelled route": Load(shelled, "/bare", {}),
    }


def _pages(server: Server, environment: dict[str, str]) -> dict[str, Load]:
    """Pages, worked out anew each time; no goal of their own, so that their cost is seen."""
    account = ["user", "create", "--email", "desk@library.test", "--role", "librarian", "--password", "-"]
    command = [str(Path(sys.executable).with_name("library")), *account]
    subprocess.run(command, env=environment, input=PASSWORD, text=True, check=True, capture_output=True)  # noqa: S603  # our own command
    sent = json.dumps({"email": "desk@library.test", "password": PASSWORD}).encode()
    asked = Request(f"{server.address}/api/v1/auth/login", sent, {"Content-Type": "application/json"})  # noqa: S310  # our own server
    with urlopen(asked) as answer:  # noqa: S310  # the same
        token = json.load(answer)["access_token"]
    html = {"Accept": "text/html"}
    staff = html | {"Authorization": f"Bearer {token}"}
    return {
        "page: newest": Load(server, "/", html),
        "page: search": Load(server, "/?q=history", html),
        "page: book": Load(server, "/books/17", html),
        "page: desk": Load(server, "/desk", staff),
    }


def _judged(measured: dict[str, list[Round]]) -> list[Goal]:
    cost = {name: statistics.median(each.cpu_us for each in rounds) for name, rounds in measured.items()}
    ours = measured["ours"]
    tail = statistics.median(each.p99_ms for each in ours) / statistics.median(each.p50_ms for each in ours)
    return [
        Goal("P1 cached list, of raw ASGI", cost["raw"] / cost["ours"], 0.85),
        Goal("P2 304, of raw ASGI", cost["raw"] / cost["ours 304"], 0.95),
        Goal("P3 the shell, µs on a route", cost["shelled route"] - cost["bare route"], 25, is_ceiling=True),
        Goal("P4 uncached list, of raw ASGI + json_agg", cost["json_agg"] / cost["ours uncached"], 1.2),
        Goal("P4 uncached list, times ORM + response_model", cost["tutorial"] / cost["ours uncached"], 20),
        Goal("P8 cached list, p99 over p50", tail, 4, is_ceiling=True),
        Goal("P15 cached list, times FastAPI tutorial", cost["tutorial"] / cost["ours"], 5),
    ]


def _starts(settings: Settings) -> float:
    """How much longer the service takes to its first answer than FastAPI with one route: medians of cold starts."""
    given = environment(settings) | {"BENCH_DATABASE": "postgresql://nobody@127.0.0.1/none"}
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(STARTS):
        for name, command, path in (
            ("ours", OURS, "/health"), ("bare", uvicorn("benchmarks.peers.bare:app"), "/bare"),
        ):  # fmt: skip
            began = time.monotonic()
            with serving(command, given, ready=path):
                seconds[name].append(time.monotonic() - began)
    return statistics.median(seconds["ours"]) / statistics.median(seconds["bare"])


def _tell(measured: dict[str, list[Round]], goals: list[Goal], records: int) -> None:
    print(f"{'server':<16} {'µs CPU':>8} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for name, rounds in measured.items():
        rows = [(each.cpu_us, each.per_second, each.p50_ms, each.p99_ms) for each in rounds]
        columns = [statistics.median(values) for values in zip(*rows, strict=True)]
        if name.startswith("page: "):
            evidence.keep("web-pages-server", name, cpu_us=round(columns[0]), p50_ms=columns[2], p99_ms=columns[3])
        print(f"{name:<16} {columns[0]:>8.0f} {columns[1]:>8.0f} {columns[2]:>8.2f} {columns[3]:>8.2f}")
    print(f"\n{'goal':<48} {'figure':>8} {'limit':>8}  reached")
    for goal in goals:
        sign = "≤" if goal.is_ceiling else "≥"
        print(f"{goal.name:<48} {goal.figure:>8.2f} {sign}{goal.limit:>7.2f}  {'yes' if goal.is_reached else 'NO'}")
        number, _, what = goal.name.partition(" ")
        evidence.keep(number, what, value=round(goal.figure, 3), limit=goal.limit, size=records)


if __name__ == "__main__":
    sys.exit(main())
