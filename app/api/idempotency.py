"""Idempotency-Key at the edge: the key is taken before the effect and the answer kept before the commit."""

import hashlib
import re
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.service import Identity
from app.core.errors import BadRequest
from app.idempotency import service as idempotency
from app.idempotency.service import Answer

_KEY: Final = re.compile(r"[!-~]{1,255}")
_KEPT_HEADERS: Final = ("content-type", "location", "etag")


class InvalidIdempotencyKey(BadRequest):
    code, detail = "invalid_idempotency_key", "Idempotency-Key must be 1 to 255 printable characters without spaces."


class Replay(Exception):  # not an error: the answer is known already
    """The answer that was given before; the request's transaction, which has done nothing, commits all the same."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class IdempotentRoute(APIRoute):
    """A route that keeps and replays answers.

    The framework calls this handler while the session of the request is still open, so that the answer is kept in the
    same transaction as the effect.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handler(request)
            except Replay as replay:
                headers = {**replay.answer.headers, "Idempotency-Replayed": "true"}
                return Response(replay.answer.body, replay.answer.status, headers)
            scope = getattr(request.state, "idempotency_scope", None)
            if scope is not None:
                kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
                stored = Answer(response.status_code, kept, bytes(response.body))
                await idempotency.keep(request.state.session, scope=scope, answer=stored)
            return response

        return answer


async def claim_key(request: Request, session: AsyncSession, who: Identity | None, now: datetime) -> None:
    """Take the request's key, if it has one and somebody is signed in.

    Raises:
        Replay: the answer is known.
        InvalidIdempotencyKey, IdempotencyKeyReused, RequestInProgress.
    """
    key = request.headers.get("idempotency-key")
    if key is None or who is None or not isinstance(request.scope.get("route"), IdempotentRoute):
        return
    if not _KEY.fullmatch(key):
        raise InvalidIdempotencyKey
    body_digest = digest_of(await request.body())
    scope = scope_of(who, request, key)
    answer = await idempotency.claim(session, scope=scope, user_id=who.user_id, body_digest=body_digest, now=now)
    if answer is not None:
        raise Replay(answer)
    request.state.idempotency_scope = scope
    request.state.session = session


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def scope_of(who: Identity, request: Request, key: str) -> str:
    parts = (str(who.user_id), request.method, request.url.path, key)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
