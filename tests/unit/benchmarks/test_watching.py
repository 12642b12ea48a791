"""The soak's watch for leaks tells what grows or is kept from what comes and goes."""

import random

import psutil
import pytest

from benchmarks.soaking.watching import MIB, Held, Sample, growths, leaks, look

CALM = Held(sessions=6, idle_in_transaction=0, locks=0, waiting=0)


def samples(*, hours: float, grows_mib_an_hour: float = 0.0, noise_mib: float = 0.5, pid: int = 7) -> list[Sample]:
    """A process of 120 MiB, looked at 400 times; it is not warm before a tenth of the time."""
    chance, count = random.Random(3), 400
    made = []
    for number in range(count):
        seconds = number * hours * 3_600 / count
        cold = min(0, number - count // 10) * 0.2
        mib = 120 + cold + grows_mib_an_hour * seconds / 3_600 + chance.uniform(-noise_mib, noise_mib)
        made.append(Sample(seconds, pid, int(mib * MIB), files=30, connections=12))
    return made


def at_rest(files: int = 20, connections: int = 9, pid: int = 7) -> list[Sample]:
    return [Sample(0, pid, 120 * MIB, files, connections)]


@pytest.mark.parametrize(
    ("hours", "grows", "is_leak"),
    [(8, 0.2, False), (8, 2.0, True), (1, 40, True), (0.02, 40, False), (0.02, 2_000, True), (8, -5, False)],
)
def test_memory_that_grows_is_told_as_far_as_the_time_allows(hours: float, grows: float, *, is_leak: bool) -> None:
    (growth,) = growths(samples(hours=hours, grows_mib_an_hour=grows))
    assert growth.mib_an_hour == pytest.approx(grows, abs=0.3 / hours)
    assert growth.is_leak is is_leak
    told = leaks(samples(hours=hours, grows_mib_an_hour=grows), (at_rest(), CALM), (at_rest(), CALM))
    assert bool(told) is is_leak
    assert not told or "process 7 grows by" in told[0]


def test_getting_warm_is_no_leak() -> None:
    (growth,) = growths(samples(hours=1))
    assert growth.first_mib < 115
    assert not growth.is_leak


@pytest.mark.parametrize(
    ("rest", "database", "why"),
    [
        (at_rest(files=23), CALM, "keeps 23 files open, 20 before"),
        (at_rest(connections=12), CALM, "keeps 12 connections, 9 before"),
        (at_rest(pid=8), CALM, "one was replaced"),
        (at_rest(), Held(9, 0, 0, 0), "9 sessions of the database are kept, 6 before"),
        (at_rest(), Held(6, 1, 0, 0), "holds something for nobody"),
        (at_rest(), Held(6, 0, 1, 0), "holds something for nobody"),
        (at_rest(), Held(6, 0, 0, 1), "holds something for nobody"),
    ],
)
def test_what_is_kept_when_nobody_asks_any_more_is_told(rest: list[Sample], database: Held, why: str) -> None:
    (told,) = leaks([], (at_rest(), CALM), (rest, database))
    assert why in told


def test_a_pool_that_fills_is_no_leak_and_what_is_kept_beyond_it_is() -> None:
    filled, beyond = at_rest(files=23, connections=12), at_rest(files=26, connections=15)
    more = Held(9, 0, 0, 0)
    assert leaks([], (at_rest(), CALM), (filled, more), pool=12) == []
    assert [told.partition(" keeps ")[2] for told in leaks([], (at_rest(), CALM), (beyond, more), pool=12)] == [
        "26 files open, 20 before", "15 connections, 9 before",
    ]  # fmt: skip


def test_a_look_finds_a_process_with_its_memory_files_and_connections() -> None:
    (found,) = [each for each in look(psutil.Process(), 0) if each.pid == psutil.Process().pid]
    assert found.pss_bytes > MIB
    assert found.files > 2
