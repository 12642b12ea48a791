"""Counting who asks how often: in this process and in a real Redis, which may die or hang."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from app.core.config import Settings
from app.core.limits import MAX_BUCKETS, REDIS_PAUSE_SECONDS, Limit, Limits
from redis import Redis
from tests import servers

pytestmark = pytest.mark.anyio

LIMIT = Limit("test", 5, 60)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _limits(redis_url: str | None = None, clock: Clock | None = None) -> Limits:
    settings = Settings(_env_file=None, redis_url=SecretStr(redis_url) if redis_url else None)
    return Limits(settings, clock=clock or time.monotonic)


@pytest.fixture
def redis() -> Iterator[servers.Redis]:
    with servers.redis() as server:
        yield server


async def test_as_many_fit_as_the_limit_says_and_one_more_each_interval() -> None:
    clock = Clock()
    limits = _limits(clock=clock)
    taken = [await limits.take(LIMIT, "a") for _ in range(7)]
    assert [one.is_allowed for one in taken] == [True] * 5 + [False] * 2
    assert [one.remaining for one in taken] == [4, 3, 2, 1, 0, 0, 0]
    assert taken[-1].retry_after_seconds == 12
    assert (await limits.take(LIMIT, "b")).is_allowed, "somebody else has a bucket of his own"
    clock.now += 11.9
    assert not (await limits.take(LIMIT, "a")).is_allowed
    clock.now += 0.2
    assert (await limits.take(LIMIT, "a")).is_allowed
    assert not (await limits.take(LIMIT, "a")).is_allowed
    clock.now += 60
    assert [(await limits.take(LIMIT, "a")).is_allowed for _ in range(6)] == [True] * 5 + [False]


async def test_what_is_given_back_may_be_taken_again_but_no_more() -> None:
    limits = _limits(clock=Clock())
    for _ in range(5):
        await limits.take(LIMIT, "a")
    await limits.give_back(LIMIT, "a")
    assert (await limits.take(LIMIT, "a")).is_allowed
    assert not (await limits.take(LIMIT, "a")).is_allowed
    for _ in range(50):
        await limits.give_back(LIMIT, "b")
    assert [(await limits.take(LIMIT, "b")).is_allowed for _ in range(6)] == [True] * 5 + [False]


async def test_an_attacker_with_many_addresses_fills_no_memory() -> None:
    limits = _limits(clock=Clock())
    for _ in range(5):
        limits.take_here(LIMIT, "guilty")
    limits.take_here(LIMIT, "guilty")
    for number in range(MAX_BUCKETS + 10):
        limits.take_here(LIMIT, str(number))
    assert len(limits._buckets._empty_at) <= MAX_BUCKETS
    assert not limits.take_here(LIMIT, "guilty").is_allowed, "the fullest bucket is forgotten last"


async def test_processes_count_together_in_redis(redis: servers.Redis) -> None:
    one, other = _limits(redis.url), _limits(redis.url)
    answers = await asyncio.gather(*((one if number % 2 else other).take(LIMIT, "a") for number in range(40)))
    assert sum(answer.is_allowed for answer in answers) == 5
    refused = await one.take(LIMIT, "a")
    assert (refused.is_allowed, refused.remaining, refused.retry_after_seconds) == (False, 0, 12)
    await other.give_back(LIMIT, "a")
    assert (await one.take(LIMIT, "a")).is_allowed
    for _ in range(9):
        await one.give_back(LIMIT, "b")
    assert [(await other.take(LIMIT, "b")).is_allowed for _ in range(6)] == [True] * 5 + [False]
    await one.close()
    await other.close()


async def test_a_name_that_looks_like_a_command_stays_one_argument(redis: servers.Redis) -> None:
    limits = _limits(redis.url)
    names = ["kept", "a\r\nFLUSHALL\r\n", "*1\r\n$8\r\nFLUSHALL\r\n", "') redis.call('FLUSHALL') --", "\0", "a b"]
    for name in names:
        await limits.take(LIMIT, name)
    await limits.close()
    with Redis.from_url(redis.url, decode_responses=True) as asked:
        assert set(asked.scan_iter()) == {f"limit:test:{name}" for name in names}


@pytest.mark.parametrize("fault", ["killed", "hung"])
async def test_without_redis_a_limit_is_never_open_and_never_slow(redis: servers.Redis, fault: str) -> None:
    limits = _limits(redis.url)
    assert (await limits.take(LIMIT, "a")).is_allowed
    redis.stop() if fault == "killed" else redis.hang(hanging=True)
    started = time.monotonic()
    answers = [await limits.take(LIMIT, "a") for _ in range(20)]
    assert sum(answer.is_allowed for answer in answers) == 5
    assert time.monotonic() - started < 1.0, "a Redis that hangs is asked once, then left alone for a while"
    if fault == "hung":
        redis.hang(hanging=False)
    await limits.close()


async def test_when_redis_is_back_it_is_asked_again(redis: servers.Redis) -> None:
    clock = Clock()
    limits = _limits(redis.url, clock)
    redis.stop()
    await limits.take(LIMIT, "a")
    redis.start()
    for _ in range(5):
        await limits.take(LIMIT, "a")
    clock.now += REDIS_PAUSE_SECONDS + 1
    assert (await limits.take(LIMIT, "fresh")).is_allowed
    other = _limits(redis.url)
    assert (await other.take(LIMIT, "fresh")).remaining == 3, "the other process sees what was counted in Redis"
    await limits.close()
    await other.close()


async def test_switched_off_everything_fits() -> None:
    limits = Limits(Settings(_env_file=None, rate_limit_enabled=False))
    assert all([(await limits.take(LIMIT, "a")).is_allowed for _ in range(100)])
