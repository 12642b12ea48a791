"""The outbox: putting notices in, taking them out for sending, and what became of them."""

import random
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import ColumnElement, bindparam, case, delete, exists, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import UtcDateTime
from app.core.direct import Direct
from app.notifications import letters
from app.notifications.models import Kind, Notice, State

# How long after an attempt the next one comes; from the last on, always that. Twenty attempts are five days.
PAUSES: Final = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=8),
)
MAX_ATTEMPTS: Final = 20
JITTER: Final = 0.2


_WITHDRAW: Final = Direct(
    delete(Notice).where(
        Notice.cause >= bindparam("prefix"),
        Notice.cause < bindparam("behind"),
        Notice.state == State.PENDING,
        Notice.attempts == 0,
    )
)


class MissingFacts(ValueError):
    """The payload lacks what the letter says."""


async def enqueue(
    session: AsyncSession,
    *,
    kind: Kind,
    cause: str,
    reader_id: UUID,
    payload: Mapping[str, str | int | date],
    now: datetime,
) -> bool:
    """Tell a reader something once this transaction has committed; False if `cause` has been or will be told.

    `cause` names what happened and the step, such as `overdue:<loan id>:2`. One that was dropped because it was no
    longer true may come up again. Two transactions with one cause wait for each other.

    Raises:
        MissingFacts: see letters.required_facts().
    """
    if missing := letters.required_facts(kind) - payload.keys():
        raise MissingFacts(f"a notice of {kind} needs {', '.join(sorted(missing))}")
    facts = {name: value.isoformat() if isinstance(value, date) else value for name, value in payload.items()}
    # The dialects spell this clause the same; only SQLAlchemy keeps it in two places.
    statement = insert(Notice).values(
        id=uuid_utils.uuid7(),
        cause=cause,
        kind=kind,
        reader_id=reader_id,
        payload=facts,
        state=State.PENDING,
        attempts=0,
        next_attempt_at=now,
        created_at=now,
    )
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[Notice.cause],
        set_={
            name: getattr(new, name) for name in ("id", "reader_id", "payload", "state", "attempts", "next_attempt_at")
        },
        where=Notice.state == State.DROPPED,
    )
    return await session.scalar(statement.returning(Notice.id)) is not None


async def withdraw(session: AsyncSession, *, cause_prefix: str) -> None:
    """Take back what has not been tried yet: the loan is closed, the booking gone. Its causes are free again.

    What has been tried stays; the check before each sending drops it.
    """
    await _WITHDRAW.write(session, prefix=cause_prefix, behind=_behind(cause_prefix))


async def forget(session: AsyncSession, *, cause_prefix: str) -> None:
    """Delete every trace of these causes; for when the link between a reader and a loan or booking fades.

    Only for what can't come up again: a forgotten cause would be told anew.
    """
    await session.execute(delete(Notice).where(_is_about(cause_prefix)))


async def is_any_due(session: AsyncSession, *, now: datetime) -> bool:
    return bool(await session.scalar(select(exists().where(_is_due(now)))))


async def take(session: AsyncSession, *, now: datetime) -> Notice | None:
    """Take the notice that has been due longest and plan its next attempt; no two callers get the same one.

    Counting the attempt before it is made means that a letter which kills its sender comes later and later, too.
    """
    spread = 1 + random.random() * JITTER  # noqa: S311  # spreads load, guards nothing
    pauses = [(Notice.attempts == n, literal(now + pause * spread, UtcDateTime)) for n, pause in enumerate(PAUSES)]
    found = (
        select(Notice.id)
        .where(_is_due(now))
        .order_by(Notice.next_attempt_at, Notice.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("found")
    )
    statement = (
        update(Notice)
        .where(Notice.id.in_(select(found.c.id)))
        .values(attempts=Notice.attempts + 1, next_attempt_at=case(*pauses, else_=now + PAUSES[-1] * spread))
        .returning(Notice)
    )
    taken = await session.scalars(statement, execution_options={"synchronize_session": False})
    return taken.one_or_none()


async def settle(
    session: AsyncSession, *, notice_id: UUID, state: State, now: datetime, error: str | None = None
) -> None:
    """Note what an attempt led to. A notice that is no longer pending loses its facts. Idempotent."""
    values: dict[str, object] = {"state": state, "last_error": error}
    if state is not State.PENDING:
        values["payload"] = {}
    if state is State.SENT:
        values["sent_at"] = now
    await session.execute(update(Notice).where(Notice.id == notice_id, Notice.state == State.PENDING).values(**values))


def _is_due(now: datetime) -> ColumnElement[bool]:
    return (Notice.state == State.PENDING) & (Notice.next_attempt_at <= now)


def _is_about(cause_prefix: str) -> ColumnElement[bool]:
    """By bytes, so that the unique index serves it on both databases."""
    return (Notice.cause >= cause_prefix) & (Notice.cause < _behind(cause_prefix))


def _behind(prefix: str) -> str:
    return prefix + "\U0010ffff"
