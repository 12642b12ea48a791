"""Figures against their limits, and ratios against those of the last good run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.table import Table

TOLERANCE: Final = 0.25
WHOLE_FROM: Final = 1_000


@dataclass(frozen=True, slots=True)
class Figure:
    """What one goal (`P4`) came to. It must be at least the limit, or at most; without a limit it only tells.

    `detail` says what the figure was made of.
    """

    goal: str
    what: str
    value: float
    limit: float | None = None
    is_ceiling: bool = False
    detail: str = ""

    @property
    def name(self) -> str:
        return f"{self.goal} {self.what}"

    @property
    def is_reached(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value <= self.limit if self.is_ceiling else self.value >= self.limit

    @property
    def bound(self) -> str:
        return "" if self.limit is None else f"{'≤' if self.is_ceiling else '≥'} {number(self.limit)}"


def at_least(goal: str, what: str, value: float, limit: float, detail: str = "") -> Figure:
    return Figure(goal, what, value, limit, detail=detail)


def at_most(goal: str, what: str, value: float, limit: float, detail: str = "") -> Figure:
    return Figure(goal, what, value, limit, is_ceiling=True, detail=detail)


def regressions(figures: Iterable[Figure], baseline: Mapping[str, float]) -> list[str]:
    """What got worse by more than a quarter; one that the baseline doesn't hold says nothing."""
    found = []
    for figure in figures:
        once = baseline.get(figure.name)
        if once is None:
            continue
        worse = figure.value / once if figure.is_ceiling else once / max(figure.value, 1e-9)
        if worse > 1 / (1 - TOLERANCE) if not figure.is_ceiling else worse > 1 + TOLERANCE:
            found.append(f"{figure.name}: {number(once)} before, {number(figure.value)} now")
    return found


def table(figures: Iterable[Figure]) -> Table:
    """Goal, figure, limit, reached; in the order of the goals."""
    made = Table("goal", "", "figure", "limit", "reached", "of what", box=None, pad_edge=False)
    said = {True: "yes", False: "NO", None: ""}
    for each in sorted(figures, key=lambda figure: goal_order(figure.goal)):
        made.add_row(each.goal, each.what, number(each.value), each.bound, said[each.is_reached], each.detail)
    return made


def goal_order(goal: str) -> tuple[str, int]:
    """P2 before P10."""
    return goal[:1], int("".join(filter(str.isdigit, goal)) or 0)


def number(value: float) -> str:
    """Three figures that tell, without an exponent."""
    if value >= WHOLE_FROM or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(max(abs(value), 0.01))))}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least this share of the values don't exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
