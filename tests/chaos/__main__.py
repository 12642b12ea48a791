"""`make chaos`: a site as it is shipped, faults one after another under load, and a table of what came of each.

Exits with 1 if a promise was broken. Figures go to build/evidence/R13.json and R5.json.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from typing import Final

from app.core.db import Database
from benchmarks.soaking import history
from tests import evidence
from tests.chaos import faults as _faults  # noqa: F401  # they put themselves among ALL
from tests.chaos import inside
from tests.chaos.fault import ALL, Fault, chosen
from tests.chaos.faults.database import RESTART_GAP_SECONDS
from tests.chaos.load import loaded
from tests.chaos.site import Grounds, grounds, opened
from tests.chaos.trial import Judge, Row

MODULE: Final = "tests.chaos"
HEADS: Final = (
    "fault", "requests", "failed: may/did", "missing", "doubled", "invariants", "write gap s", "well after s"
)  # fmt: skip


def main() -> int:
    asked = _arguments()
    if asked.list:
        for each in ALL:
            _say(f"{each.group:<12} {each.name}{' (quick)' if each.is_quick else ''}")
        return 0
    try:
        faults = chosen(asked.only, is_full=asked.full)
    except ValueError as error:
        sys.exit(str(error))
    if not asked.inside:
        inside.enter(MODULE, sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # its servers stop with it
    _say(f"{len(faults)} faults, seed {asked.seed}")
    began = time.monotonic()
    with grounds() as made:
        rows, left = asyncio.run(_run(made, faults, asked))
    _show(rows)
    broken = [f"{row.fault.name}: {complaint}" for row in rows for complaint in row.complaints]
    broken += [f"in the end: {complaint}" for complaint in left]
    broken += [f"left running: {command}" for command in inside.left_running()]
    for complaint in broken:
        _say(f"BROKEN  {complaint}")
    seconds = round(time.monotonic() - began)
    size = f"{len(rows)} faults in {seconds} s"
    if not asked.only:
        evidence.keep("R13", "chaos", value=len(broken), limit=0, size=size, seed=asked.seed, is_full=asked.full)
    _say(f"{size}: {'all promises kept' if not broken else f'{len(broken)} promises broken'}")
    return 1 if broken else 0


async def _run(made: Grounds, faults: list[Fault], asked: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """Every fault in turn; then what the events tell of the whole run."""
    rows: list[Row] = []
    run = asyncio.current_task()
    assert run is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.cancel)  # the site ends with it
    async with opened(made, is_full=asked.full) as site:
        database = Database(site.settings)
        async with loaded(site, database, seed=asked.seed) as load:
            judge = Judge(site, load, database)
            for fault in faults:
                row = await judge.try_fault(fault)
                if row.is_only_late:
                    _tell(row, "on a machine that stands still now and then; tried once more")
                    row = await judge.try_fault(fault)
                    row.tries += 1
                rows.append(row)
                evidence.keep("R13", fault.name, **row.figures())
                _tell(row, "broken")
        left = await history.breaches(database)
        for kind, gaps in site.kills.items():
            evidence.keep(
                "R5", kind, value=round(max(gaps), 2), limit=RESTART_GAP_SECONDS, unit="seconds without a write",
                size=f"{len(gaps)} times", gaps=[round(gap, 2) for gap in gaps],
                lost_writes=sum(row.missing for row in rows if row.fault.group == "database"),
            )  # fmt: skip
        await database.close()
    return rows, left


def _tell(row: Row, how: str) -> None:
    for complaint in row.complaints:
        _say(f"  {how}: {complaint}")


def _show(rows: list[Row]) -> None:
    """The table."""
    _say("")
    lines = [HEADS]
    lines += [
        (
            row.fault.name, str(row.requests), f"{row.fault.may_fail}/{row.failed}", str(row.missing), str(row.doubled),
            "hold" if not row.violations else f"{row.violations} broken", f"{row.write_gap_seconds:.1f}",
            "never" if row.recovered_seconds is None else f"{row.recovered_seconds:.1f} (≤ {row.fault.within:.0f})",
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    for line in lines:
        _say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    _say("")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # what the verb is for


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="all faults, and more kills of each kind")
    parser.add_argument("--only", metavar="WORDS", default="", help="those whose name or group has one of them (a,b)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument(inside.MARK, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
