"""Cold starts beside those of FastAPI with one route, and what processes take of memory (P13)."""

import statistics
import time
from contextlib import ExitStack
from typing import Final
from urllib.request import urlopen

from benchmarks.judging import Figure, at_most
from benchmarks.stage import Stage, ours
from benchmarks.wrk import serving, uvicorn

STARTS: Final = 7
QUICK_STARTS: Final = 2
PROCESS_MIB: Final = 85
WORKER_MIB: Final = 50
LOOKS: Final = 50


def measure(stage: Stage) -> list[Figure]:
    given = stage.environment(stage.catalogue)
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(QUICK_STARTS if stage.quick else STARTS):
        for name, command, path in (
            ("ours", ours, "/health"), ("bare", uvicorn("benchmarks.peers.bare:app"), "/bare"),
        ):  # fmt: skip
            began = time.monotonic()
            with serving(command, given, ready=path):
                seconds[name].append(time.monotonic() - began)
    own, bare = statistics.median(seconds["ours"]), statistics.median(seconds["bare"])
    one, two, three = (_memory_mib(stage, workers) for workers in (1, 2, 3))
    return [
        at_most("P13", "cold start, times bare FastAPI", own / bare, 2, f"{bare:.2f} s to {own:.2f}"),
        at_most("P13", "one process, MiB PSS", one, PROCESS_MIB, f"after {LOOKS} lists"),
        at_most(
            "P13", "each further worker, MiB PSS", three - two, WORKER_MIB, f"two {two:.0f}, three {three:.0f} MiB"
        ),
    ]


def _memory_mib(stage: Stage, workers: int) -> float:
    with ExitStack() as stack:
        server = stage.serve(stack, stage.catalogue, WEB_CONCURRENCY=str(workers))
        for _ in range(LOOKS):
            with urlopen(f"{server.address}/api/v1/books") as answer:  # noqa: S310  # our own server
                answer.read()
        return server.memory_bytes() / 2**20
