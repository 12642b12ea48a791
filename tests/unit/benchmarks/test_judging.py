"""Judging a run: limits from both sides, percentiles, and what counts as worse than the last good run."""

import pytest

from benchmarks import judging
from benchmarks.judging import Figure, at_least, at_most


def test_a_figure_is_judged_from_its_own_side() -> None:
    assert at_least("P1", "share", 0.85, 0.85).is_reached
    assert not at_least("P1", "share", 0.84, 0.85).is_reached
    assert at_most("P3", "µs", 25, 25).is_reached
    assert not at_most("P3", "µs", 25.1, 25).is_reached
    assert Figure("P13", "only told", 1).is_reached is None


@pytest.mark.parametrize(
    ("figure", "is_worse"),
    [
        (at_least("P1", "share", 0.76, 0.85), False),
        (at_least("P1", "share", 0.74, 0.85), True),
        (at_least("P1", "share", 4.0, 0.85), False),
        (at_most("P10", "ratio", 1.24, 2), False),
        (at_most("P10", "ratio", 1.26, 2), True),
        (at_most("P10", "ratio", 0.1, 2), False),
    ],
)
def test_a_quarter_worse_than_before_is_a_regression(figure: Figure, *, is_worse: bool) -> None:
    found = judging.regressions([figure], {"P1 share": 1.0, "P10 ratio": 1.0})
    assert bool(found) == is_worse
    assert all(figure.name in line for line in found)


def test_what_the_baseline_lacks_and_what_was_not_measured_is_no_regression() -> None:
    assert judging.regressions([at_least("P2", "new", 0.001, 1)], {"P1 share": 1.0}) == []


def test_a_figure_that_fell_to_nothing_is_a_regression() -> None:
    assert judging.regressions([at_least("P1", "share", 0, 0.85)], {"P1 share": 1.0})


@pytest.mark.parametrize(("share", "value"), [(0.5, 5), (0.95, 10), (0.9, 9), (0.99, 10), (0.0, 1), (1.0, 10)])
def test_a_percentile_is_a_value_that_was_seen(share: float, value: float) -> None:
    assert judging.percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert judging.percentile([7.5], 0.99) == 7.5


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.0367, "0.0367"), (0.984, "0.984"), (1.43, "1.43"), (25.1, "25.1"), (5, "5"),
                         (1443.2, "1,443"), (999.6, "1000")],
)  # fmt: skip
def test_figures_are_shown_with_what_tells(value: float, shown: str) -> None:
    assert judging.number(value) == shown


def test_goals_are_told_in_their_order() -> None:
    assert sorted(["R9", "P10", "P2", "P1"], key=judging.goal_order) == ["P1", "P2", "P10", "R9"]
