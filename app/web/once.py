"""A form that is sent twice (a double click, the back button, a scanner) has one effect."""

import hashlib
from datetime import datetime
from typing import Final

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData

from app.api.idempotency import scope_of
from app.auth.service import Identity
from app.idempotency import service as idempotency
from app.idempotency.service import Answer

FIELD: Final = "idempotency_key"


class DoneAlready(Exception):  # not an error: the transaction has done nothing
    """The form was sent before, and its effect stands; `answer` is what was kept of it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    @property
    def location(self) -> str:
        return self.answer.body.decode()


async def claim(
    request: Request, session: AsyncSession, who: Identity | None, form: FormData, now: datetime
) -> str | None:
    """Take the form's key before its effect; None for forms without one.

    Raises:
        DoneAlready, IdempotencyKeyReused, RequestInProgress.
    """
    key = request.headers.get("idempotency-key") or form.get(FIELD)
    if not key or not isinstance(key, str) or who is None:
        return None
    fields = sorted((name, str(value)) for name, value in form.multi_items())
    scope = scope_of(who, request, key[:255])
    digest = hashlib.sha256(repr(fields).encode()).hexdigest()
    answer = await idempotency.claim(session, scope=scope, user_id=who.user_id, body_digest=digest, now=now)
    if answer is not None:
        raise DoneAlready(answer)
    return scope


async def keep(session: AsyncSession, scope: str, answered: str) -> None:
    """Keep where the form led, or the part of a page that it brought."""
    await idempotency.keep(session, scope=scope, answer=Answer(303, {}, answered.encode()))
