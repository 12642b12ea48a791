"""Counting who asks how often: one leaky bucket a name, in this process, or in Redis for all processes together.

Each bucket is one number, the time at which it will be empty (GCRA): a request moves it on, and is refused when it
would lie further ahead than the bucket is deep. If Redis does not answer, this process counts alone: a limit is then
one per process, and never open.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from app.core.config import Settings
from app.core.errors import TooManyRequests
from app.core.loading import redis
from app.core.resilience import Breaker

REDIS_TIMEOUT_SECONDS: Final = 0.25
REDIS_PAUSE_SECONDS: Final = 5.0
MAX_BUCKETS: Final = 100_000

# The same arithmetic as `_Buckets.take`, in one step that no other client can come between; by Redis' own clock.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local interval, depth, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local empty_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local next = empty_at + interval * cost
if next - now > depth + 0.000001 then return {0, tostring(empty_at - now)} end
if next <= now then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], tostring(next), 'PX', math.ceil((next - now) * 1000) + 1000) end
return {1, tostring(math.max(next - now, 0))}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many in so many seconds, by name."""

    name: str
    amount: int
    seconds: int
    interval: float = field(init=False)
    policy: bytes = field(init=False)
    """Source: draft-ietf-httpapi-ratelimit-headers, RateLimit-Policy."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", self.seconds / self.amount)
        object.__setattr__(self, "policy", f'"{self.name}";q={self.amount};w={self.seconds}'.encode())


@dataclass(slots=True)
class Taken:
    """Whether a request fits, and how full its bucket is: in seconds until it is empty."""

    limit: Limit
    is_allowed: bool
    fill_seconds: float

    @property
    def remaining(self) -> int:
        return max(0, math.floor((self.limit.seconds - self.fill_seconds) / self.limit.interval + 1e-6))

    @property
    def retry_after_seconds(self) -> int:
        """How long until one more fits; 0 if it does now."""
        return max(0, math.ceil(self.fill_seconds + self.limit.interval - self.limit.seconds - 1e-6))

    @property
    def state(self) -> str:
        """Source: draft-ietf-httpapi-ratelimit-headers, RateLimit."""
        return f'"{self.limit.name}";r={self.remaining};t={self.retry_after_seconds or math.ceil(self.limit.interval)}'

    def refuse(self, error: type[TooManyRequests]) -> None:
        """Raise unless the request fits.

        Raises:
            TooManyRequests: the given kind, with Retry-After.
        """
        if not self.is_allowed:
            raise error(headers={"Retry-After": str(max(1, self.retry_after_seconds))})


class Limits:
    """The counters of one process. With RATE_LIMIT_ENABLED off everything fits."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_enabled = settings.rate_limit_enabled
        self._clock = clock
        self._buckets = _Buckets()
        self._redis = _connect(settings) if settings.redis_url else None
        self._take = self._redis.register_script(_TAKE) if self._redis else None
        self._breaker = Breaker("redis", pause_seconds=REDIS_PAUSE_SECONDS, clock=clock)

    def take_here(self, limit: Limit, name: str, cost: int = 1) -> Taken:
        """Count in this process alone: for reads, where a trip to Redis would cost more than the answer."""
        if not self.is_enabled:
            return Taken(limit, is_allowed=True, fill_seconds=0)
        return self._buckets.take(limit, name, cost, self._clock())

    async def take(self, limit: Limit, name: str, cost: int = 1) -> Taken:
        """Count for all processes together. A negative cost gives back."""
        if not self.is_enabled or self._take is None or not self._breaker.may_ask():
            return self.take_here(limit, name, cost)
        try:
            is_allowed, fill = await self._take(
                keys=[f"limit:{limit.name}:{name}"], args=[limit.interval, limit.seconds, cost]
            )
        except (redis.RedisError, OSError) as error:
            self._breaker.failed(error)
            return self.take_here(limit, name, cost)
        self._breaker.succeeded()
        return Taken(limit, is_allowed=bool(is_allowed), fill_seconds=float(fill))

    async def give_back(self, limit: Limit, name: str, cost: int = 1) -> None:
        """Undo a `take` that should not count after all."""
        await self.take(limit, name, -cost)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()


class _Buckets:
    def __init__(self) -> None:
        self._empty_at: dict[tuple[str, str], float] = {}

    def take(self, limit: Limit, name: str, cost: int, now: float) -> Taken:
        key = (limit.name, name)
        empty_at = max(self._empty_at.get(key, now), now)
        following = empty_at + limit.interval * cost
        if following - now > limit.seconds + 1e-6:
            return Taken(limit, is_allowed=False, fill_seconds=empty_at - now)
        if len(self._empty_at) >= MAX_BUCKETS:
            self._forget(now)
        self._empty_at[key] = following
        return Taken(limit, is_allowed=True, fill_seconds=max(0.0, following - now))

    def _forget(self, now: float) -> None:
        """Drop what is empty; if an attacker filled them all, drop the half that will be empty first."""
        self._empty_at = {key: empty_at for key, empty_at in self._empty_at.items() if empty_at > now}
        if len(self._empty_at) >= MAX_BUCKETS:
            fullest_last = sorted(self._empty_at.items(), key=lambda item: item[1])
            self._empty_at = dict(fullest_last[len(fullest_last) // 2 :])


def _connect(settings: Settings) -> "redis.asyncio.Redis":
    assert settings.redis_url is not None
    return redis.asyncio.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        retry=redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0),
    )
