"""The store behind the response cache that all processes share: bytes in Redis, over one connection.

Many ask at once over the same connection, and answers come in the order of the questions; so a look costs a fifth of
what a client with a pool takes. Everything else that needs Redis uses such a client.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, Final

import hiredis

from app.core.config import Settings
from app.core.loading import redis
from app.core.resilience import Breaker

TIMEOUT_SECONDS: Final = 0.1
PAUSE_SECONDS: Final = 5.0


class SharedStore:
    """A store that may forget, and that nobody waits for long: whatever goes wrong, nothing is found."""

    def __init__(self, settings: Settings) -> None:
        assert settings.redis_url is not None
        self._url = settings.redis_url.get_secret_value()
        self._prefix = f"{settings.cache_key_prefix}{settings.version}:".encode()
        self._breaker = Breaker("redis-cache", pause_seconds=PAUSE_SECONDS)
        self._link: _Link | None = None
        self._opening: asyncio.Task[_Link] | None = None

    async def get(self, key: bytes) -> bytes | None:
        """What was put there, if it is there and comes in time."""
        if not self._breaker.may_ask():
            return None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                link = await self._open()
                found = await link.ask(b"GET", self._prefix + key)
        except (OSError, TimeoutError, hiredis.HiredisError) as error:
            self._fail(error)
            return None
        self._breaker.succeeded()
        return found if isinstance(found, bytes) else None

    def put(self, key: bytes, value: bytes, *, seconds: int) -> None:
        """Keep it there for so long, if the connection is open; a store that is full says no, which hurts nobody."""
        if self._link and not self._link.is_lost:
            told = self._link.ask(b"SET", self._prefix + key, value, b"EX", b"%d" % seconds)
            told.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it

    async def close(self) -> None:
        if self._opening and not self._opening.done():
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._link:
            self._link.drop()

    def _fail(self, error: Exception) -> None:
        self._breaker.failed(error)
        if self._link:
            self._link.drop()

    async def _open(self) -> "_Link":
        if self._link and not self._link.is_lost:
            return self._link
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(_connect(self._url))
        self._link = await asyncio.shield(self._opening)
        return self._link


class _Link(asyncio.Protocol):
    """One connection: questions go out as they are asked, answers come in that order."""

    def __init__(self) -> None:
        self.is_lost = False
        self._parser = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport

    def ask(self, *command: bytes) -> asyncio.Future[Any]:
        """The answer to a command; an error that Redis tells is raised."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.is_lost:
            answer.set_exception(ConnectionResetError("the connection to Redis is lost"))
            return answer
        self._waiting.append(answer)
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # theirs means a tuple of one
        return answer

    def drop(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is one, but isn't derived from it

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        while (told := self._parser.gets()) is not False:
            answer = self._waiting.popleft()
            if answer.done():
                continue
            if isinstance(told, hiredis.HiredisError):
                answer.set_exception(told)
            else:
                answer.set_result(told)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(error or ConnectionResetError("Redis closed the connection"))
        self._waiting.clear()


async def _connect(url: str) -> _Link:
    given: dict[str, Any] = dict(redis.asyncio.connection.parse_url(url))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        if path := given.get("path"):
            _, link = await loop.create_unix_connection(_Link, path)
        else:
            tls = _tls(given) if url.startswith("rediss:") else None
            _, link = await loop.create_connection(
                _Link, given.get("host", "localhost"), given.get("port", 6379), ssl=tls
            )
    if password := given.get("password"):
        await link.ask(b"AUTH", given.get("username", "default").encode(), password.encode())
    if number := given.get("db"):
        await link.ask(b"SELECT", b"%d" % number)
    return link


def _tls(given: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=given.get("ssl_ca_certs"))
    if certificate := given.get("ssl_certfile"):
        context.load_cert_chain(certificate, given.get("ssl_keyfile"))
    return context
