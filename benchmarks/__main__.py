"""`make bench`: the goals of performance, each with its figure, from one run; into build/evidence too.

QUICK=1 takes the small file and shorter rounds, and ends within five minutes. ARGS="--only P1,P9" takes the parts that
measure those. Exits with 1 only if a part broke off, or a ratio is a quarter worse than in benchmarks/baseline.json.
--keep-baseline writes that anew: take it from QUICK=1 on a quiet machine, since that is what CI compares.
"""

import argparse
import json
import platform
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks import judging
from benchmarks.judging import Figure
from benchmarks.parts import PARTS, Part
from benchmarks.stage import Stage, keep_baseline, kept_baseline
from tests import evidence

WIDTH: Final = 150
# Ratios of processor time within one run that hold on a busy machine too. Those of peers which wait for a database or
# for threads don't: they were seen to differ by more than a third.
GUARDED: Final = (
    "P1 cached list, of raw ASGI on uvicorn",
    "P1 the same on granian",
    "P2 304, of raw ASGI on uvicorn",
    "P4 uncached list, of raw ASGI and json_agg",
)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # its servers stop with it
    asked = _arguments()
    console = Console(width=WIDTH)
    with ExitStack() as stack:
        stage = Stage(asked.quick, stack)
        figures, seconds, broken = _measured(stage, _chosen(asked.only))
    for name, rows in stage.tables.items():
        console.print(f"\n{name}", rows, sep="\n")
    console.print("", judging.table(figures), sep="\n")
    if asked.keep_baseline:
        keep_baseline({each.name: round(each.value, 3) for each in figures if each.name in GUARDED})
    worse = judging.regressions(figures, kept_baseline())
    _keep(stage, figures, seconds, worse)
    for line in worse:
        console.print(f"WORSE BY A QUARTER: {line}", style="bold")
    for name in broken:
        console.print(f"BROKE OFF: {name}; what it said stands above", style="bold")
    return 1 if worse or broken else 0


def _measured(stage: Stage, parts: list[Part]) -> tuple[list[Figure], dict[str, float], list[str]]:
    figures: list[Figure] = []
    seconds = {}
    broken = []
    for part in parts:
        began = time.monotonic()
        try:
            figures += part.measure(stage)
        except Exception:  # noqa: BLE001  # whatever broke, the other parts' figures are worth having
            traceback.print_exc()
            broken.append(part.name)
        seconds[part.name] = round(time.monotonic() - began, 1)
        print(f"{part.name}: {', '.join(part.goals)} took {seconds[part.name]} s", flush=True)
    return figures, seconds, broken


def _chosen(only: str) -> list[Part]:
    wanted = {goal.strip().upper() for goal in only.split(",") if goal.strip()}
    if unknown := wanted - {goal for part in PARTS for goal in part.goals}:
        sys.exit(f"No part measures {', '.join(sorted(unknown))}.")
    return [part for part in PARTS if not wanted or wanted & set(part.goals)]


def _keep(stage: Stage, figures: list[Figure], seconds: dict[str, float], worse: list[str]) -> None:
    rows: list[dict[str, Any]] = []
    for each in figures:
        limit = {} if each.limit is None else {"limit": each.limit}
        row = {"value": round(each.value, 4), "size": stage.size, "quick": stage.quick, **limit}
        evidence.keep(each.goal, each.what, **row)
        rows.append({"goal": each.goal, "what": each.what, **row, "reached": each.is_reached, "detail": each.detail})
    machine = {
        "cores": psutil.cpu_count(), "memory_gib": psutil.virtual_memory().total >> 30,
        "python": platform.python_version(), "load_before": stage.load_before,
    }  # fmt: skip
    whole = {
        "figures": rows, "servers": stage.told, "seconds": seconds, "worse": worse, "machine": machine,
        "taken_at": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
    }  # fmt: skip
    (evidence.FOLDER / "bench.json").write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the small file, shorter rounds")
    parser.add_argument("--only", default="", metavar="P1,P9", help="the parts that measure these goals")
    parser.add_argument("--keep-baseline", action="store_true", help="let later runs be compared with this one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
