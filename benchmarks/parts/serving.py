"""What an answer costs the server: P1 to P5, P8 of the list, P14, P15, and the pages; all by turns in one run."""

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from rich.table import Table

from app.core.config import Settings
from benchmarks.judging import Figure, at_least, at_most
from benchmarks.parts.peer_servers import PEERS, SHARES, granian, nginx
from benchmarks.stage import Stage
from benchmarks.wrk import CONNECTIONS, Command, Round, Server, cycle, serving, uvicorn
from tests import servers
from tests.conftest import PASSWORD
from tests.integration.observability.collector import collector

LIST: Final = "/api/v1/books?limit=20"
# More lists than the process can keep, so that each is asked of Redis again; and a few that it keeps.
MANY: Final = [
    f"{LIST}&year_from={since}&year_to={until}" for since in range(1900, 1950) for until in range(1986, 2016)
]
FEW: Final = MANY[:50]
TIMES: Final = {
    "FastAPI, response model": 5, "Django REST framework": 35, "Flask, gthread": 8, "Litestar, msgspec": 2.5,
}  # fmt: skip
SLOW: Final = 4  # connections to what takes so long that those unanswered at the end of a round would count


@dataclass(frozen=True)
class Load:
    """What one server is asked in each round."""

    server: Server
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    script: Path | None = None
    connections: int = CONNECTIONS

    def round(self, seconds: int) -> Round:
        return self.server.load(
            self.path, seconds=seconds, headers=self.headers, script=self.script, connections=self.connections
        )


def measure(stage: Stage) -> list[Figure]:
    seconds, rounds = (1, 3) if stage.quick else (4, 7)
    with ExitStack() as stack:
        loads = _start(stage, stack)
        measured: dict[str, list[Round]] = {name: [] for name in loads}
        for _ in range(rounds):
            for name, load in loads.items():
                measured[name].append(load.round(seconds))
        memory = loads["ours"].server.memory_bytes()
    _tell(stage, measured)
    judged = _judged({name: statistics.median(each.cpu_us for each in taken) for name, taken in measured.items()})
    tail = statistics.median(each.p99_ms / each.p50_ms for each in measured["ours"])
    return [
        *judged,
        at_most("P8", "cached list, p99 over p50", tail, 4),
        Figure("P13", "one process after all this, MiB PSS", memory / 2**20),
    ]


def _start(stage: Stage, stack: ExitStack) -> dict[str, Load]:
    """All servers, each with what it is asked; the limit and the peers send the bytes that the service sent."""
    settings = stage.catalogue
    cached = stage.serve(stack, settings)
    folder = stage.folder / "peers"
    folder.mkdir()
    with urlopen(cached.address + LIST) as answer:  # noqa: S310  # our own server
        body, tag = answer.read(), answer.headers["ETag"]
    (folder / "body").write_bytes(body)
    stage.told["body_bytes"] = len(body)
    assert settings.database_url
    given = {"BENCH_BODY": str(folder / "body"), "BENCH_DATABASE": settings.database_url.get_secret_value()}

    def peer(command: Command, path: str) -> Load:
        return Load(stack.enter_context(serving(command, given, ready=path)), path)

    tutorial = peer(uvicorn("benchmarks.peers.tutorial:app"), "/bare")
    on_granian = serving(granian("--factory", "benchmarks.peers.ours:create"), stage.environment(settings), ready=LIST)
    return {
        "raw": peer(uvicorn("benchmarks.peers.raw:ready"), "/"),
        "ours": Load(cached, LIST),
        "ours, 304": Load(cached, LIST, {"If-None-Match": tag}),
        "ours on granian": Load(stack.enter_context(on_granian), LIST),
        "ours, traced": Load(_traced(stage, stack, settings), LIST),
        **_second_level(stage, stack, settings, folder),
        "json_agg": peer(uvicorn("benchmarks.peers.raw:aggregated"), "/"),
        "ours, uncached": Load(stage.serve(stack, settings, CACHE_ENABLED="false"), LIST),
        "ORM, OFFSET, COUNT": Load(tutorial.server, "/books", connections=SLOW),
        "bare FastAPI route": tutorial,
        "the shell around it": peer(uvicorn("benchmarks.peers.shelled:app"), "/bare"),
        "nginx, a file": peer(nginx(folder), "/body"),
        **{name: peer(command, path) for name, (command, path, _) in PEERS.items()},
        **({} if stage.quick else _pages(stage, cached, settings)),
    }


def _traced(stage: Stage, stack: ExitStack, settings: Settings) -> Server:
    taking = stack.enter_context(collector())
    return stage.serve(stack, settings, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{taking.address}")


def _second_level(stage: Stage, stack: ExitStack, settings: Settings, folder: Path) -> dict[str, Load]:
    """A process before a Redis that another has filled: lists that it keeps itself, and lists that are too many."""
    redis = stack.enter_context(servers.redis())
    filling = stage.serve(stack, settings, REDIS_URL=redis.url)
    reading = stage.serve(stack, settings, REDIS_URL=redis.url)
    for path in MANY:
        with urlopen(filling.address + path) as answer:  # noqa: S310  # our own server
            answer.read()
    few, many = cycle(folder / "few.lua", FEW), cycle(folder / "many.lua", MANY)
    return {"ours, L1": Load(reading, "/", script=few), "ours, L2": Load(reading, "/", script=many)}


def _pages(stage: Stage, server: Server, settings: Settings) -> dict[str, Load]:
    """Pages, worked out anew each time; no goal of their own, so that their cost is seen."""
    account = ["user", "create", "--email", "desk@library.test", "--role", "librarian", "--password", "-"]
    command = [str(Path(sys.executable).with_name("library")), *account]
    environment = stage.environment(settings)
    subprocess.run(command, env=environment, input=PASSWORD, text=True, check=True, capture_output=True)  # noqa: S603  # our own command
    sent = json.dumps({"email": "desk@library.test", "password": PASSWORD}).encode()
    asked = Request(f"{server.address}/api/v1/auth/login", sent, {"Content-Type": "application/json"})  # noqa: S310  # our own server
    with urlopen(asked) as answer:  # noqa: S310  # the same
        token = json.load(answer)["access_token"]
    html = {"Accept": "text/html"}
    return {
        "page: newest": Load(server, "/", html, connections=SLOW),
        "page: search": Load(server, "/?q=history", html, connections=SLOW),
        "page: book": Load(server, "/books/17", html, connections=SLOW),
        "page: desk": Load(server, "/desk", html | {"Authorization": f"Bearer {token}"}, connections=SLOW),
    }


def _judged(cost: dict[str, float]) -> list[Figure]:
    raw, ours, uncached = cost["raw"], cost["ours"], cost["ours, uncached"]

    def made(name: str, other: str = "raw") -> str:
        return f"{cost[other]:.0f} µs to {cost[name]:.0f}"

    return [
        at_least("P1", "cached list, of raw ASGI on uvicorn", raw / ours, 0.85, made("ours")),
        at_least("P1", "the same on granian", raw / cost["ours on granian"], 1.05, made("ours on granian")),
        at_least("P2", "304, of raw ASGI on uvicorn", raw / cost["ours, 304"], 0.95, made("ours, 304")),
        at_most(
            "P3", "the shell around a FastAPI route, µs", cost["the shell around it"] - cost["bare FastAPI route"], 25,
            made("the shell around it", "bare FastAPI route"),
        ),
        at_least("P4", "uncached list, of raw ASGI and json_agg", cost["json_agg"] / uncached, 1.2,
                 made("ours, uncached", "json_agg")),
        at_least("P4", "uncached list, times ORM and response model", cost["ORM, OFFSET, COUNT"] / uncached, 20,
                 made("ours, uncached", "ORM, OFFSET, COUNT")),
        at_most("P5", "a hit in Redis over one in the process, µs", cost["ours, L2"] - cost["ours, L1"], 60,
                made("ours, L2", "ours, L1")),
        at_most("P14", "tracing one request in a hundred, µs", cost["ours, traced"] - ours, 15,
                made("ours, traced", "ours")),
        *(at_least("P15", f"cached list, times {name}", cost[name] / ours, times, made("ours", name))
          for name, times in TIMES.items()),
    ]  # fmt: skip


def _tell(stage: Stage, measured: dict[str, list[Round]]) -> None:
    """What every server cost; and its share of the limit beside the one that it was seen to have elsewhere."""
    table = Table("server", "µs CPU", "a second", "p50 ms", "p99 ms", "of raw", "elsewhere", box=None, pad_edge=False)
    told = {}
    for name, rounds in measured.items():
        rows = [(each.cpu_us, each.per_second, each.p50_ms, each.p99_ms) for each in rounds]
        cpu, per_second, p50, p99 = (statistics.median(values) for values in zip(*rows, strict=True))
        raw = statistics.median(each.cpu_us for each in measured["raw"])
        share, elsewhere = raw / cpu, SHARES.get(name)
        table.add_row(
            name, f"{cpu:.0f}", f"{per_second:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{share:.3f}",
            "" if elsewhere is None else f"{elsewhere} ({share / elsewhere - 1:+.0%})",
        )  # fmt: skip
        told[name] = {
            "cpu_us": round(cpu, 1), "per_second": round(per_second), "p50_ms": p50, "p99_ms": p99,
            "of_raw": round(share, 4), "elsewhere": elsewhere,
        }  # fmt: skip
    stage.told["serving"] = told
    stage.tables[f"Servers, by turns; a list of {stage.told['body_bytes']:,} bytes"] = table
