"""Recording what happened: each change of state writes one event and one audit entry, in its own transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry, Event
from app.core.direct import Direct
from app.core.schemas import JsonObject


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a member of staff by pseudonym, or a reader or a job, which leave only their role."""

    pseudonym: UUID | None
    role: str


SYSTEM: Final = Actor(None, "system")
_EVENT: Final = Direct(
    insert(Event),
    columns=("change_id", "kind", "happened_at", "book_id", "copy_id", "booking_id", "loan_id", "branch_id", "data"),
)
_ENTRY: Final = Direct(
    insert(AuditEntry),
    columns=("id", "action", "happened_at", "actor", "actor_role", "subject", "reason", "data"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """What an event tells: its kind and the things that it touched."""

    kind: str
    book_id: int | None = None
    copy_id: int | None = None
    booking_id: UUID | None = None
    loan_id: UUID | None = None
    branch_id: str | None = None


async def record(
    session: AsyncSession,
    change: Change,
    *,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
    subject: UUID | None = None,
    data: JsonObject | None = None,
) -> UUID:
    """Write a change's event and audit entry; returns the id that both share.

    `data` goes out to followers of events: nothing personal in it. `subject` is the pseudonym of the reader it is
    about, only where no book is named (money, blocks), since the entry outlives the reading history.
    """
    change_id = uuid_utils.uuid7()
    await _EVENT.write(
        session,
        change_id=change_id,
        kind=change.kind,
        happened_at=now,
        book_id=change.book_id,
        copy_id=change.copy_id,
        booking_id=change.booking_id,
        loan_id=change.loan_id,
        branch_id=change.branch_id,
        data=data or {},
    )
    entry = _entry(change.kind, actor, now, reason=reason, subject=subject, data=data)
    await _ENTRY.write(session, id=change_id, **entry)
    return change_id


def note_view(session: AsyncSession, *, actor: Actor, subject: UUID, what: str, now: datetime) -> None:
    """Write that a member of staff looked at a reader's record; the reader can see who did."""
    _add(session, _entry("view", actor, now, subject=subject, data={"what": what}))


def note(
    session: AsyncSession,
    action: str,
    *,
    actor: Actor,
    subject: UUID | None,
    now: datetime,
    reason: str | None = None,
    data: JsonObject | None = None,
) -> None:
    """Write what was done to an account: no event, as followers of the library have no business with accounts."""
    _add(session, _entry(action, actor, now, reason=reason, subject=subject, data=data))


def _add(session: AsyncSession, entry: dict[str, Any]) -> None:
    """By the session, which writes all that one answer shows at once."""
    session.add(AuditEntry(id=uuid_utils.uuid7(), **entry))


def _entry(
    action: str,
    actor: Actor,
    now: datetime,
    *,
    subject: UUID | None,
    reason: str | None = None,
    data: JsonObject | None = None,
) -> dict[str, Any]:
    return {
        "action": action,
        "happened_at": now,
        "actor": actor.pseudonym,
        "actor_role": actor.role,
        "subject": subject,
        "reason": reason,
        "data": data or {},
    }
