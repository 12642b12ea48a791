"""Reading what happened: events in the order of writing, audit entries and views, the newest first."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry, Event
from app.core.functions import is_settled
from app.core.pagination import Cursor, decode_cursor, question_of, uuid_of

VIEW = "view"


async def events_after(session: AsyncSession, *, after: int, limit: int) -> Sequence[Event]:
    """Events behind an id, in order; one that is still being written is left for the next call, with all after it."""
    statement = select(Event).where(Event.id > after, is_settled(Event.transaction)).order_by(Event.id).limit(limit)
    return (await session.scalars(statement)).all()


async def last_event(session: AsyncSession) -> int:
    """The id behind which `events_after` goes on with what happens from now on."""
    return await session.scalar(select(func.max(Event.id)).where(is_settled(Event.transaction))) or 0


async def entries(
    session: AsyncSession,
    *,
    action: str | None = None,
    actor: UUID | None = None,
    subject: UUID | None = None,
    cursor: str | None,
    limit: int,
) -> tuple[list[AuditEntry], str | None]:
    """Audit entries, the newest first.

    Raises:
        InvalidCursor, StaleCursor.
    """
    statement = select(AuditEntry)
    for column, value in (
        (AuditEntry.action, action),
        (AuditEntry.actor, actor),
        (AuditEntry.subject, subject),
    ):
        if value is not None:
            statement = statement.where(column == value)
    return await _page(session, statement, question_of("audit", action, actor, subject), cursor, limit)


async def views_of(
    session: AsyncSession, *, subject: UUID, cursor: str | None, limit: int
) -> tuple[list[AuditEntry], str | None]:
    """Looks at one reader's record, the newest first.

    Raises:
        InvalidCursor, StaleCursor.
    """
    statement = select(AuditEntry).where(AuditEntry.subject == subject, AuditEntry.action == VIEW)
    return await _page(session, statement, question_of("views", subject), cursor, limit)


async def _page(
    session: AsyncSession, statement: Select[AuditEntry], question: str, cursor: str | None, limit: int
) -> tuple[list[AuditEntry], str | None]:
    after = decode_cursor(cursor, question, row_id=str)
    if after:
        statement = statement.where(AuditEntry.id < uuid_of(after))
    found = list(await session.scalars(statement.order_by(AuditEntry.id.desc()).limit(limit + 1)))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, str(found[limit - 1].id)).encode(question)
