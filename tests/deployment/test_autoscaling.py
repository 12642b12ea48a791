"""The autoscaler's algorithm: its bounds and windows, a library's day, and the picture of it."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.autoscaling import (
    MEAN_MS,
    PICTURE,
    SYNC_SECONDS,
    Autoscaler,
    Moment,
    Policy,
    day,
    picture,
    replay,
)  # fmt: skip
from scripts.k8s_render import render
from tests import evidence
from tests.deployment.conftest import named

SHIPPED: Final = Autoscaler.shipped()
demands = st.lists(st.floats(min_value=0, max_value=40), min_size=1, max_size=300)


def changes(run: list[Moment]) -> list[tuple[int, int]]:
    """When pods were added (or taken), and how many."""
    return [(after.seconds, after.pods - before.pods) for before, after in pairwise(run) if after.pods != before.pods]


@given(demands)
@settings(deadline=None)
def test_there_are_never_fewer_or_more_pods_than_the_manifest_says(demand: list[float]) -> None:
    assert all(SHIPPED.least <= each.pods <= SHIPPED.most for each in replay(demand, SHIPPED))


@given(demands)
@settings(deadline=None)
def test_pods_go_one_at_a_time_and_come_two_at_a_time_or_doubled(demand: list[float]) -> None:
    run = replay(demand, SHIPPED)
    taken = [at for at, by in changes(run) if by < 0]
    assert all(by == -1 for _, by in changes(run) if by < 0)
    assert all(later - earlier >= 120 for earlier, later in pairwise(taken))
    for before, after in pairwise(run):
        assert after.pods <= max(before.pods + 2, 2 * before.pods)


@given(demands)
@settings(deadline=None)
def test_nothing_is_taken_within_ten_minutes_of_a_need_for_as_many(demand: list[float]) -> None:
    run = replay(demand, SHIPPED)
    added = [at for at, by in changes(run) if by > 0]
    for at, by in changes(run):
        if by < 0:
            assert not any(0 < at - earlier < SHIPPED.down_window_seconds for earlier in added)


def test_a_load_that_stays_is_met_and_the_pods_stay() -> None:
    run = replay([2.0] * 400, SHIPPED)
    assert run[-1].pods == 5, "2 cores at 0.4 a pod"
    assert len({each.pods for each in run[100:]}) == 1


def test_a_load_that_swings_each_minute_makes_no_pods_come_and_go() -> None:
    swinging = [3.0 if tick // 4 % 2 else 0.5 for tick in range(400)]
    assert [by for _, by in changes(replay(swinging, SHIPPED)) if by < 0] == []
    loose = replace(SHIPPED, down_window_seconds=0, down=(Policy(100, 60, is_percent=True),))
    assert len(changes(replay(swinging, loose))) > 50, "that is what the window is for"


def test_small_differences_change_nothing() -> None:
    run = replay([0.8, *[0.87] * 100], SHIPPED)
    assert {each.pods for each in run} == {2}, "within a tenth of the target"


def test_a_day_of_a_library_never_fills_its_pods_and_seldom_changes_them() -> None:
    run = replay(day(), SHIPPED)
    loose = replay(day(), replace(SHIPPED, down_window_seconds=0, down=(Policy(100, 60, is_percent=True),)))
    fullest = max(each.saturation for each in run)
    assert fullest < 1
    assert len(changes(run)) * 5 < len(changes(loose))
    evidence.keep(
        "autoscaling", "a simulated day", value=len(changes(run)), limit=len(changes(loose)) // 5,
        fullest_pods=round(fullest, 2), most_pods=max(each.pods for each in run), size=len(run) * SYNC_SECONDS,
    )  # fmt: skip


def test_the_picture_is_that_of_the_shipped_manifest() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "`make autoscaling-picture` draws it anew"


def test_requests_a_second_ask_for_pods_where_processor_time_would(copied: Path) -> None:
    """The component, put into an overlay: both metrics, and a number that agrees with the measured costs."""
    overlay = copied / "k8s" / "overlays" / "by-requests"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("resources: [../../base]\ncomponents: [../../components/requests]\n")
    documents = list(yaml.safe_load_all(render("by-requests", root=copied)))
    scaler = named(documents, "HorizontalPodAutoscaler", "api")
    by_time, by_requests = scaler["spec"]["metrics"]
    assert by_time["resource"]["name"] == "cpu"
    target = float(by_requests["pods"]["target"]["averageValue"])
    assert target == pytest.approx(SHIPPED.target_cores * 1000 / MEAN_MS, rel=0.1)
    adapter = yaml.safe_load((copied / "k8s" / "components" / "requests" / "adapter.yml").read_text())
    (rule,) = adapter["rules"]["custom"]
    assert rule["name"]["as"] == by_requests["pods"]["metric"]["name"]
    assert rule["seriesQuery"].startswith('http_requests_total{job="library",')
    shutil.rmtree(overlay)
