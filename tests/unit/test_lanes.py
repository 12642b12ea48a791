"""Lanes: who finds a place, who waits for one, who is told to come back; and which way a request goes."""

import asyncio
from pathlib import Path

import pytest

from app.core import lanes, metrics
from app.core.config import Environment, Settings
from app.core.lanes import Fork, Lane, Lanes, Overloaded

pytestmark = pytest.mark.anyio

ROOT = "/api/v1"


@pytest.fixture
def ways(tmp_path: Path) -> Lanes:
    return Lanes(Settings(_env_file=None, data_dir=tmp_path, environment=Environment.DEVELOPMENT))


async def _hold(lane: Lane, leave: asyncio.Event, came: list[int], number: int) -> None:
    async with lane:
        came.append(number)
        await leave.wait()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _turned_away(lane: str) -> float:
    counted: float = metrics.turned_away(lane)._value.get()
    return counted


async def test_those_in_line_follow_in_their_order_and_the_next_is_turned_away() -> None:
    lane, leave, came = Lane("test", 2, in_line=3), asyncio.Event(), list[int]()
    before = _turned_away("test")
    held = [asyncio.create_task(_hold(lane, leave, came, number)) for number in range(5)]
    await _settle()
    assert (came, lane.busy, lane.waiting) == ([0, 1], 2, 3)
    with pytest.raises(Overloaded):
        async with lane:
            pass
    assert _turned_away("test") == before + 1
    leave.set()
    await asyncio.gather(*held)
    assert (came, lane.busy, lane.waiting) == ([0, 1, 2, 3, 4], 0, 0)


async def test_nobody_waits_longer_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAIT_SECONDS", 0.01)
    lane, leave, came = Lane("test", 1, in_line=1), asyncio.Event(), list[int]()
    held = asyncio.create_task(_hold(lane, leave, came, 0))
    await _settle()
    with pytest.raises(Overloaded):
        async with lane:
            pass
    assert (lane.busy, lane.waiting) == (1, 0)
    leave.set()
    await held
    async with lane:
        assert lane.busy == 1


async def test_a_crowd_is_turned_away_in_turns_and_one_alone_at_once() -> None:
    lane, leave, came = Lane("test", 1, refusals=100), asyncio.Event(), list[int]()
    held = asyncio.create_task(_hold(lane, leave, came, 0))
    await _settle()
    loop = asyncio.get_running_loop()
    began = loop.time()
    crowd = await asyncio.gather(*(_hold(lane, leave, came, 1) for _ in range(21)), return_exceptions=True)
    took = loop.time() - began
    assert {type(each) for each in crowd} == {Overloaded}
    assert took >= 20 / 100
    await asyncio.sleep(0.02)
    began = loop.time()
    with pytest.raises(Overloaded):
        async with lane:
            pass
    assert loop.time() - began < took / 4
    leave.set()
    await held


async def test_whoever_leaves_the_line_or_his_place_takes_nobody_elses() -> None:
    lane, leave, came = Lane("test", 1, in_line=2), asyncio.Event(), list[int]()
    first, second, third = [asyncio.create_task(_hold(lane, leave, came, number)) for number in range(3)]
    await _settle()
    second.cancel()
    first.cancel()
    await _settle()
    assert (came, lane.busy, lane.waiting) == ([0, 2], 1, 0)
    leave.set()
    await third
    assert lane.busy == 0


@pytest.mark.parametrize(
    ("path", "query", "stranger"),
    [
        ("/", b"q=history&subject=Law", "searches"),
        ("/", b"year_from=1900", "searches"),
        ("/", b"", "strangers"),
        ("/suggest", b"q=his", "searches"),
        (f"{ROOT}/books", b"q=history", "searches"),
        (f"{ROOT}/books", b"sort=title&q=history", "searches"),
        (f"{ROOT}/books", b"%71=history", "searches"),
        (f"{ROOT}/books", b"sort=title&cursor=x&limit=20", "strangers"),
        (f"{ROOT}/books", b"", "strangers"),
        (f"{ROOT}/books/facets", b"q=history", "searches"),
        (f"{ROOT}/books/suggest", b"q=his", "searches"),
        (f"{ROOT}/books/7", b"x=y", "strangers"),
        ("/books/7", b"", "strangers"),
    ],
)
def test_strangers_go_other_ways_than_members(ways: Lanes, path: str, query: bytes, stranger: str) -> None:
    way = ways.of(path, query)
    assert isinstance(way, Fork)
    assert (way.member.name, way.stranger.name) == ("members", stranger)
    assert way.stranger.width < way.member.width


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{ROOT}/auth/login", "sign_in"),
        ("/login", "sign_in"),
        (f"{ROOT}/loans", "desk"),
        (f"{ROOT}/books/export", "transfers"),
        (f"{ROOT}/books/import", "imports"),
        (f"{ROOT}/uploads", "files"),
        (f"{ROOT}/books/availability/stream", "streams"),
    ],
)
def test_some_ways_are_the_same_for_everybody(ways: Lanes, path: str, name: str) -> None:
    way = ways.of(path, b"q=x")
    assert isinstance(way, Lane)
    assert way.name == name
