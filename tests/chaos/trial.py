"""One trial: a fault under load, and the verdict on what the town was told and what the database holds."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from app.core.db import Database
from benchmarks.soaking import verdict
from tests.chaos.fault import Fault
from tests.chaos.load import CALM_SECONDS, Load, Sent
from tests.chaos.site import Site
from tests.circulation import Library

PATIENCE_SECONDS: Final = 45.0
SHOWN: Final = 4
MOST_WAITED: Final = 2
MOST_WAITED_SHARE: Final = 0.02


@dataclass
class Row:
    """What came of a fault. `complaints` are the promises that it broke."""

    fault: Fault
    requests: int = 0
    failed: int = 0
    waited: int = 0
    missing: int = 0
    doubled: int = 0
    violations: int = 0
    write_gap_seconds: float = 0.0
    recovered_seconds: float | None = None
    seconds: float = 0.0
    tries: int = 1
    remark: str = ""
    complaints: list[str] = field(default_factory=list)

    @property
    def is_only_late(self) -> bool:
        """Whether nothing is wrong with the books, only somebody waited too long or in vain."""
        return bool(self.complaints) and not (self.missing or self.doubled or self.violations)

    def figures(self) -> dict[str, Any]:
        return {
            "requests": self.requests, "may_fail": self.fault.may_fail, "failed": self.failed,
            "refused_after_waiting_for_a_lock": self.waited,
            "acknowledged_but_missing": self.missing, "doubled": self.doubled,
            "violated_invariants": self.violations, "write_gap_seconds": self.write_gap_seconds,
            "recovered_seconds": self.recovered_seconds, "within_seconds": self.fault.within, "seconds": self.seconds,
            "tries": self.tries,
            "broken_promises": len(self.complaints), **({"seen": self.remark} if self.remark else {}),
        }  # fmt: skip


class Judge:
    """Remembers what was found before, so that each fault answers for its own."""

    def __init__(self, site: Site, load: Load, database: Database) -> None:
        self._site, self._load, self._database = site, load, database
        self._library = Library(database)
        self._known: set[str] = set()

    async def try_fault(self, fault: Fault) -> Row:
        """Calm, harm, calm again; then nobody moves while the books are checked."""
        site, load, row = self._site, self._load, Row(fault)
        await site.mend()
        before = site.supervisors()
        load.goes.set()
        await asyncio.sleep(CALM_SECONDS)
        harmed_at = time.monotonic()
        try:
            async with asyncio.timeout(fault.lasts):
                row.remark = await fault.harm(site, load) or ""
        except TimeoutError:
            row.complaints.append(f"the harm itself took more than {fault.lasts:.0f} s")
        except (AssertionError, RuntimeError, OSError, httpx2.HTTPError) as wrong:
            row.complaints.append(f"{type(wrong).__name__}: {wrong}"[-1_000:])
        undone_at = time.monotonic()
        row.recovered_seconds = await load.recovered(undone_at, patience_seconds=fault.within + PATIENCE_SECONDS)
        await load.rest()
        row.seconds = round(time.monotonic() - harmed_at, 1)
        judge_answers(row, [sent for sent in load.town.sent if sent.ended >= harmed_at], harmed_at, undone_at)
        load.town.sent.clear()
        if not fault.restarts and site.supervisors() != before:
            row.complaints.append("ours had to be restarted")
        await self._judge_books(row)
        return row

    async def _judge_books(self, row: Row) -> None:
        """What is acknowledged is there once, nothing else is, and every invariant holds."""
        ledger = self._load.ledger
        differences = [each for each in await verdict.effects(self._database, ledger) if self._is_new(str(each))]
        broken = [each for each in await self._library.violations() if self._is_new(each)]
        answers = [*ledger.breaches, *await verdict.answers(self._database, ledger)]
        row.missing = sum(each.is_loss for each in differences)
        row.doubled = len(differences) - row.missing
        row.violations = len(broken)
        row.complaints += [*map(str, differences), *broken, *(each for each in answers if self._is_new(each))]

    def _is_new(self, complaint: str) -> bool:
        is_new = complaint not in self._known
        self._known.add(complaint)
        return is_new


def judge_answers(row: Row, sent: list[Sent], harmed_at: float, undone_at: float) -> None:
    """Hold what was sent since the harm against what the fault promises; `row.recovered_seconds` is known by then."""
    failed = [each for each in sent if each.has_failed]
    if row.fault.may_fail == "nothing":
        # Many want the same few books: on a machine that stands still for a second some wait too long for a row.
        waited = [each for each in failed if each.has_waited]
        failed = [each for each in failed if not each.has_waited]
        row.waited = len(waited)
        if row.waited > max(MOST_WAITED, MOST_WAITED_SHARE * len(sent)):
            row.complaints.append(f"{row.waited} of {len(sent)} waited in vain for a lock")
    allowed: Callable[[Sent], bool] = {
        "nothing": lambda _: False, "writes": lambda each: each.is_write, "all": lambda _: True,
    }[row.fault.may_fail]  # fmt: skip
    over = [each for each in failed if not allowed(each)]
    row.requests, row.failed = len(sent), len(failed)
    row.complaints += [f"failed, and was not to: {each}" for each in over[:SHOWN]]
    if row.recovered_seconds is None:
        row.complaints.append(f"never well again; at last: {failed[-1] if failed else 'no write was done'}")
    elif row.recovered_seconds > row.fault.within:
        late = [each for each in failed if each.ended > undone_at + row.fault.within]
        row.complaints.append(f"well after {row.recovered_seconds:.1f} s only: {late[-1]}")
    done = [each.ended for each in sent if each.is_write and not each.has_failed]
    times = [harmed_at, *done]
    row.write_gap_seconds = round(max((b - a for a, b in itertools.pairwise(times)), default=0.0), 2)
    if row.recovered_seconds is not None:
        row.recovered_seconds = round(row.recovered_seconds, 2)
