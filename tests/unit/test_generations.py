"""Generations: how old a number may be, and that a slow database doesn't send everybody to it."""

import asyncio
from collections import Counter

import pytest

from app.core.generations import Generations

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_number_is_read_beside_the_requests_and_never_older_than_promised() -> None:
    clock, told = Clock(), [1]

    async def read(_kind: str) -> int:
        return told[0]

    generations = Generations(read, Counter(), clock=clock)
    assert await generations.number("x") == 1
    told[0] = 2
    clock.now += 0.3
    assert await generations.number("x") == 1
    clock.now += 0.2
    assert await generations.number("x") == 1  # old enough to be read again, and good enough meanwhile
    await asyncio.sleep(0)
    assert await generations.number("x") == 2
    told[0] = 3
    clock.now += 1
    assert await generations.number("x") == 3
    await generations.close()


async def test_a_crowd_before_a_slow_database_waits_for_one_reading() -> None:
    clock, readings = Clock(), []

    async def read(_kind: str) -> int:
        readings.append(clock.now)
        await asyncio.sleep(0.01)
        clock.now += 5
        return 7

    generations = Generations(read, Counter(), clock=clock)
    assert await asyncio.gather(*(generations.number("x") for _ in range(1_000))) == [7] * 1_000
    assert len(readings) == 1
    await generations.close()


async def test_what_this_process_changed_is_in_the_number_and_a_silent_database_vouches_for_nothing() -> None:
    clock, changes, told = Clock(), Counter[str](), [1]

    async def read(_kind: str) -> int:
        if not told:
            raise OSError("gone")
        return told[0]

    generations = Generations(read, changes, clock=clock)
    assert await generations.number("x") == 1
    told[0], changes["x"] = 2, 1
    assert await generations.number("x") == 2
    told.clear()
    clock.now += 0.8
    assert await generations.number("x") == 2
    clock.now += 0.2
    assert await generations.number("x") is None
    await generations.close()
