"""Who has signed in, told from strangers before anything costly is done for either.

A credential proves nothing by being there: a signature is checked, the rest is looked up by its digest. This decides
about places alone; what a request may see or do is judged from the database each time (app/api/deps.py).
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from app.api.cookies import cookie_name, session_in
from app.auth import queries
from app.auth.service import keys
from app.core.config import Settings
from app.core.db import Database
from app.core.driver import Compiled, NoAnswer
from app.core.exchange import Exchange
from app.core.lanes import IN_LINE, Lane
from app.core.security import InvalidToken, TokenSigner, digest

# A session that has been ended keeps its place for so long, and no right.
KNOWN_SECONDS: Final = 60.0
MAX_KNOWN: Final = 10_000
# Credentials nobody has seen yet; a look takes a quarter of a millisecond.
LOOKS_AT_ONCE: Final = 2
IN_LINE_FOR_A_LOOK: Final = 16 * IN_LINE
BEARER: Final = b"bearer "


class Members:
    """Remembers for a minute which credentials were in force; of what it doesn't know it looks up few at once."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        signer: TokenSigner,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = f"{settings.api_v1_str}/"
        self._cookie = cookie_name(settings)
        self._database = database
        self._signer = signer
        self._clock = clock
        self._open_cookie = database.compiled(queries.open_cookie())
        self._valid_key = database.compiled(queries.valid_key())
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._looks = Lane("credentials", LOOKS_AT_ONCE, in_line=IN_LINE_FOR_A_LOOK)

    async def include(self, exchange: Exchange) -> bool:
        """Whether the request comes with what was handed out here and is in force.

        Raises:
            Overloaded: too many ask with credentials that have to be looked up.
        """
        credential, is_cookie = self._credential(exchange)
        if not credential:
            return False
        name = hashlib.blake2b(credential.encode(), digest_size=16, person=b"cookie" if is_cookie else b"").digest()
        if self._known.get(name, 0) > self._clock():
            return True
        if not await self._is_in_force(credential, is_cookie=is_cookie):
            return False
        if len(self._known) >= MAX_KNOWN:
            self._known.popitem(last=False)
        self._known[name] = self._clock() + KNOWN_SECONDS
        return True

    def _credential(self, exchange: Exchange) -> tuple[str, bool]:
        """As `deps._who` takes them: a bearer's first; a cookie on pages alone, where it says who reads."""
        given = exchange.given
        if authorization := given.get(b"authorization"):
            is_bearer = authorization[: len(BEARER)].lower() == BEARER
            return (authorization[len(BEARER) :].decode("latin-1"), False) if is_bearer else ("", False)
        is_page = not exchange.scope["path"].startswith(self._api)
        return session_in(given, self._cookie) if is_page else "", True

    async def _is_in_force(self, credential: str, *, is_cookie: bool) -> bool:
        if is_cookie:
            return await self._is_found(self._open_cookie, credential)
        if credential.startswith(keys.PREFIX):
            return await self._is_found(self._valid_key, credential)
        try:
            self._signer.read(credential, now=datetime.now(UTC))
        except InvalidToken:
            return False
        return True

    async def _is_found(self, statement: Compiled, credential: str) -> bool:
        async with self._looks:
            try:
                return bool(await self._database.rows(statement, digest=digest(credential)))
            except NoAnswer:
                return False
