"""Cross-origin requests: answered for the origins of BACKEND_CORS_ORIGINS, spelt exactly, and for no other."""

from collections.abc import Iterable
from typing import Final

from app.core.exchange import Exchange, Headers

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS: Final = (
    b"Authorization, Content-Type, Accept-Language, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
)
EXPOSED_HEADERS: Final = (
    b"ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-ID, Idempotency-Replayed"
)
PREFLIGHT_SECONDS: Final = b"600"


class CrossOrigin:
    """Credentials are never allowed: scripts of other origins bring a token of their own, cookies stay at home."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self.common: Headers = [(b"vary", b"Origin")] if self._origins else []
        """What every answer tells, wherever its request comes from."""

    async def answer(self, exchange: Exchange) -> bool:
        """Answer a preflight and say so; give any other answer its headers."""
        if not self._origins:
            return False
        exchange.headers += self.common
        scope = exchange.scope
        asked = dict(scope["headers"])
        origin = asked.get(b"origin")
        is_preflight = scope["method"] == "OPTIONS" and b"access-control-request-method" in asked
        if origin not in self._origins:
            return False
        assert origin is not None
        exchange.headers.append((b"access-control-allow-origin", origin))
        if not is_preflight:
            exchange.headers.append((b"access-control-expose-headers", EXPOSED_HEADERS))
            return False
        headers: Headers = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
        ]
        await exchange.send({"type": "http.response.start", "status": 204, "headers": headers})
        await exchange.send({"type": "http.response.body", "body": b""})
        return True
