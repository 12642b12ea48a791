"""Idempotency-Key: the same key and body never have a second effect, and after a success give the same answer."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.direct import Direct
from app.core.errors import Conflict, Unprocessable
from app.core.schemas import JsonObject
from app.idempotency.models import IdempotencyKey

KEPT_HOURS: Final = 24
_LOCK_NOT_AVAILABLE: Final = "55P03"
_FORGET_OLD: Final = Direct(
    delete(IdempotencyKey).where(
        IdempotencyKey.scope == bindparam("key_scope"), IdempotencyKey.created_at < bindparam("before")
    )
)
# The same clause on both databases; SQLAlchemy spells it per dialect but compiles this one for either.
_TAKE: Final = Direct(
    insert(IdempotencyKey).on_conflict_do_nothing(index_elements=["scope"]).returning(IdempotencyKey.scope),
    columns=("scope", "user_id", "body_digest", "created_at"),
)
_KEEP: Final = Direct(
    update(IdempotencyKey).where(IdempotencyKey.scope == bindparam("key_scope")),
    columns=("status", "headers", "body"),
)


class IdempotencyKeyReused(Unprocessable):
    code, detail = "idempotency_key_reused", "This Idempotency-Key was used for another request; choose a new one."


class RequestInProgress(Conflict):
    code, detail = "request_in_progress", "The same request is under way; wait for its answer or try again shortly."


@dataclass(frozen=True, slots=True)
class Answer:
    """A success as it was given."""

    status: int
    headers: JsonObject
    body: bytes


async def claim(session: AsyncSession, *, scope: str, user_id: UUID, body_digest: str, now: datetime) -> Answer | None:
    """Take the key for this transaction, or return the answer that it led to, which may be told after the commit.

    A concurrent twin waits for the first one: if that commits, the twin gets its answer; if it rolls back, the key is
    free and the twin goes on.

    Raises:
        IdempotencyKeyReused: the key came with another body.
        RequestInProgress: the first one takes longer than the lock timeout.
    """
    await _FORGET_OLD.write(session, key_scope=scope, before=now - timedelta(hours=KEPT_HOURS))
    try:
        if await _TAKE.one(session, scope=scope, user_id=user_id, body_digest=body_digest, created_at=now) is not None:
            return None
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise RequestInProgress(headers={"Retry-After": "1"}) from None
        raise
    # Locked, so that this transaction writes, and its commit waits for the standby as the first one's should have: of a
    # commit that was given up while it waited the answer is here, and may be lost with this server.
    locked = select(IdempotencyKey).where(IdempotencyKey.scope == scope).with_for_update()
    found = (await session.scalars(locked)).one()
    if found.body_digest != body_digest:
        raise IdempotencyKeyReused
    return Answer(found.status or 200, found.headers or {}, found.body or b"")


async def keep(session: AsyncSession, *, scope: str, answer: Answer) -> None:
    """Keep the answer, in the transaction of the effect."""
    await _KEEP.write(session, key_scope=scope, status=answer.status, headers=answer.headers, body=answer.body)


async def forget_answers(session: AsyncSession, *, words: Collection[str]) -> None:
    """Forget answers that hold one of these words, whoever got them; reads all that were kept within 24 hours."""
    needles = [word.encode() for word in words]
    statement = select(IdempotencyKey.scope, IdempotencyKey.body).where(IdempotencyKey.body.is_not(None))
    found = [
        scope
        async for scope, body in await session.stream(statement)
        if body and any(needle in body for needle in needles)
    ]
    for scope in found:
        await session.execute(delete(IdempotencyKey).where(IdempotencyKey.scope == scope))


async def purge(session: AsyncSession, *, now: datetime) -> int:
    """Forget keys older than 24 hours; returns how many."""
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < now - timedelta(hours=KEPT_HOURS))
    result = await session.execute(statement.returning(IdempotencyKey.scope))
    return len(result.all())
