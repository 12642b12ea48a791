"""The judge of a canary: reads the proxy's access log and says whether the new release is worse than the old."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

# Answers that take as long as the file or the listener, not as the release.
LONG: Final = ("/books/availability/stream", "/uploads", "/books/import", "/books/export")
# One unlucky request condemns nobody.
LEAST_BAD: Final = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What a canary may be worse by, and how much of it has to be seen.

    `errors` is the share of failures that it may have beyond the stable release's, `p99_seconds` what its p99 may
    be in any case, `slower` how many times the stable release's it may be; `sample` requests at least, in `seconds`.
    """

    sample: int = 200
    seconds: float = 60
    errors: float = 0.01
    p99_seconds: float = 0.5
    slower: float = 2.0


@dataclass(slots=True)
class Seen:
    """What one release was seen to answer."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def answered(self) -> int:
        return len(self.seconds)

    @property
    def errors(self) -> float:
        return self.failed / self.answered if self.seconds else 0.0

    @property
    def p99_seconds(self) -> float:
        return sorted(self.seconds)[(self.answered * 99 - 1) // 100] if self.seconds else 0.0

    def __str__(self) -> str:
        return f"{self.answered} answers, {self.errors:.1%} failed, p99 {self.p99_seconds * 1000:.0f} ms"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`is_good` is None while more has to be seen."""

    is_good: bool | None
    why: str


def read(lines: Iterable[str], addresses: set[str], since: datetime) -> Seen:
    """What the members at these addresses answered, in the lines of the proxy's log from `since` on.

    A request that was passed on to a second member counts for each by what that one said.
    """
    seen = Seen()
    for line in lines:
        if not line.startswith("{"):
            continue  # what the proxy says of itself
        told = json.loads(line)
        if any(part in told["path"] for part in LONG) or datetime.fromisoformat(told["timestamp"]) < since:
            continue
        each = zip(
            *(told[name].split(", ") for name in ("upstream", "upstream_status", "upstream_seconds")), strict=False
        )
        for member, status, seconds in each:
            if member.rpartition(":")[0] in addresses and "-" not in {status, seconds}:
                seen.seconds.append(float(seconds))
                seen.failed += status.startswith("5")
    return seen


def judge(canary: Seen, stable: Seen, limits: Limits, watched_seconds: float) -> Verdict:
    """Bad as soon as enough went wrong to be sure; good only when time and sample are full."""
    compared = f"canary: {canary}; stable: {stable}"
    if canary.failed >= LEAST_BAD and canary.errors > stable.errors + limits.errors:
        return Verdict(is_good=False, why=f"it fails more often ({compared})")
    bearable = max(limits.p99_seconds, limits.slower * stable.p99_seconds)
    slow = sum(seconds > bearable for seconds in canary.seconds)
    if slow >= LEAST_BAD and canary.p99_seconds > bearable:
        return Verdict(is_good=False, why=f"it is slower than {bearable * 1000:.0f} ms ({compared})")
    if watched_seconds < limits.seconds:
        return Verdict(is_good=None, why=compared)
    if canary.answered < limits.sample:
        return Verdict(is_good=False, why=f"too few requests to judge by, {limits.sample} are needed ({compared})")
    return Verdict(is_good=True, why=compared)
