"""The proxy's list of members, and the share that each weight gives."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.commands.deploy import members

SHIPPED = Path(__file__).resolve().parents[3] / "nginx" / "upstream" / "members.conf"


def test_one_colour_is_written_as_the_file_that_is_shipped() -> None:
    assert members.text({"api": 1}) == SHIPPED.read_text()


def test_a_canary_is_written_beside_the_stable_release_with_its_weight() -> None:
    lines = members.text({"api": 9, "api-green": 2}).splitlines()
    assert lines[-2:] == ["server api:8000 weight=9 max_fails=0;", "server api-green:8000 weight=2 max_fails=0;"]


@pytest.mark.parametrize(
    ("percent", "stable", "canary", "expected"), [(10, 1, 1, (9, 1)), (10, 2, 1, (9, 2)), (50, 2, 2, (1, 1))]
)
def test_weights_are_as_small_as_they_can_be(percent: int, stable: int, canary: int, expected: tuple[int, int]) -> None:
    assert members.weights(percent, stable=stable, canary=canary) == expected


@given(st.integers(1, 99), st.integers(1, 20), st.integers(1, 20))
def test_the_canary_gets_the_share_that_was_asked_for(percent: int, stable: int, canary: int) -> None:
    for_stable, for_canary = members.weights(percent, stable=stable, canary=canary)
    assert for_canary * canary * 100 == percent * (for_canary * canary + for_stable * stable)
