"""The judge of a fault tells a broken promise from what the fault was allowed to do."""

import subprocess
import sys
from typing import Any

import pytest

from tests.chaos import faults
from tests.chaos.fault import ALL, Fault, chosen
from tests.chaos.load import Sent
from tests.chaos.trial import Row, judge_answers

HARMED, UNDONE, END = 100.0, 110.0, 112.0


async def nothing(_site: Any, _load: Any) -> None:
    """Does no harm."""


def sent(at: float, method: str = "POST", status: int = 200, said: str = "", took: float = 0.1) -> Sent:
    return Sent(at - took, at, method, "/api/v1/loans", status, said)


def judged(*requests: Sent, may_fail: str = "nothing", recovered: float | None = 0.0) -> Row:
    row = Row(Fault("a fault", "tests", nothing, may_fail, 1.0, is_quick=False, lasts=60, restarts=False))
    row.recovered_seconds = recovered
    judge_answers(row, list(requests), HARMED, UNDONE)
    return row


def test_nothing_wrong_is_no_complaint() -> None:
    row = judged(sent(101), sent(104), sent(111), sent(103, "GET"))
    assert (row.requests, row.failed, row.complaints) == (4, 0, [])
    assert row.write_gap_seconds == 7


@pytest.mark.parametrize(
    ("method", "may_fail", "is_broken"),
    [
        ("GET", "nothing", True), ("POST", "nothing", True), ("GET", "writes", True), ("POST", "writes", False),
        ("GET", "all", False), ("POST", "all", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [0, 500, 502, 503])
def test_what_failed_is_held_against_the_promise(method: str, may_fail: str, status: int, *, is_broken: bool) -> None:
    row = judged(sent(105, method, status, "ReadError"), sent(111), may_fail=may_fail)
    assert row.failed == 1
    assert bool(row.complaints) is is_broken, row.complaints


def test_who_waited_in_vain_for_a_row_is_counted_apart_and_must_be_rare() -> None:
    refused = sent(105, status=503, said='{"code": "database_unavailable"}', took=1.2)
    soon = sent(105, status=503, said='{"code": "database_unavailable"}', took=0.2)
    few = judged(refused, sent(111))
    assert (few.failed, few.waited, few.complaints) == (0, 1, [])
    assert judged(soon, sent(111)).complaints, "who did not wait was refused for something else"
    many = judged(*[refused] * 5, sent(111))
    assert "5 of 6 waited in vain for a lock" in many.complaints[0]


@pytest.mark.parametrize(("recovered", "why"), [(None, "never well again"), (3.0, "well after 3.0 s only")])
def test_a_site_that_stays_ill_is_told(recovered: float | None, why: str) -> None:
    row = judged(sent(113.0, status=503, said="late"), may_fail="all", recovered=recovered)
    assert why in row.complaints[0]


def test_there_are_thirty_faults_and_ten_for_each_change() -> None:
    assert faults.__all__ == sorted({each.group for each in ALL})
    assert len({each.name for each in ALL}) == len(ALL) >= 30
    assert len(chosen("", is_full=False)) == 10
    assert chosen("", is_full=True) == ALL
    assert {each.group for each in chosen("clock", is_full=False)} == {"clock"}
    with pytest.raises(ValueError, match="No fault is called"):
        chosen("no such thing", is_full=True)


def test_a_fault_that_nobody_knows_is_refused_in_a_line() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--only", "no such thing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "No fault is called 'no such thing'; --list names them.\n"
