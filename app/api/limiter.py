"""The shell's limiter: how often one address and one token may ask, by what they ask for."""

import hashlib
from typing import Final

from app.api.cookies import cookie_name, session_in
from app.core.config import Settings
from app.core.errors import AppError, TooManyRequests
from app.core.exchange import Exchange
from app.core.limits import Limit, Limits, Taken
from app.core.proxies import network_of

# A library's reading room is one address: what a hundred people there do is not too much.
ADDRESS: Final = Limit("address", 1_000, 10)
READS: Final = Limit("reads", 300, 10)
WRITES: Final = Limit("writes", 100, 10)
SIGN_IN: Final = Limit("sign-in", 300, 60)

UNLIMITED: Final = ("/static/",)
SAFE: Final = frozenset({"GET", "HEAD"})


class RequestLimiter:
    """Judges a request by its address, and by its token if it has one; a token nobody issued helps nobody."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._limits = limits
        self._sign_in = (f"{settings.api_v1_str}/auth/", "/login", "/register", "/forgot")
        self._cookie = cookie_name(settings)

    async def admit(self, exchange: Exchange) -> AppError | None:
        """The refusal, or None; in-process for reads, so that they cost no trip to Redis."""
        scope = exchange.scope
        if not self._limits.is_enabled or scope["path"].startswith(UNLIMITED):
            return None
        taken = await self._judge(exchange)
        exchange.headers += [(b"ratelimit-policy", taken.limit.policy), (b"ratelimit", taken.state.encode())]
        if taken.is_allowed:
            return None
        return TooManyRequests(headers={"Retry-After": str(max(1, taken.retry_after_seconds))})

    def admit_at_once(self, host: str) -> bytes | None:
        """Like `admit` for a stranger's plain read: the lines of what he is told, None if he is to be refused."""
        if not self._limits.is_enabled:
            return b""
        address = network_of(host, ipv4_bits=32)
        if not self._limits.take_here(ADDRESS, address).is_allowed:
            return None
        taken = self._limits.take_here(READS, address)
        told = b"ratelimit-policy: %b\r\nratelimit: %b\r\n" % (taken.limit.policy, taken.state.encode())
        return told if taken.is_allowed else None

    async def _judge(self, exchange: Exchange) -> Taken:
        scope = exchange.scope
        host = scope["client"][0] if scope.get("client") else "unknown"
        address = network_of(host, ipv4_bits=32)
        at_address = self._limits.take_here(ADDRESS, address)
        if not at_address.is_allowed:
            return at_address
        who = self._token(exchange) or address
        if scope["method"] in SAFE:
            return self._limits.take_here(READS, who)
        if scope["path"].startswith(self._sign_in):
            return await self._limits.take(SIGN_IN, address)
        return await self._limits.take(WRITES, who)

    def _token(self, exchange: Exchange) -> str | None:
        """A fingerprint of the credential that came along, so that the buckets hold no secret."""
        if credential := exchange.given.get(b"authorization"):
            return _fingerprint(credential)
        session = session_in(exchange.given, self._cookie)
        return _fingerprint(session.encode()) if session else None


def _fingerprint(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest()
