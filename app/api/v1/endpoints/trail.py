"""Events and the audit trail over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.api.deps import AuditViewer, EventFollower, Reading
from app.api.errors import problems
from app.api.responses import next_link
from app.audit import queries
from app.audit.schemas import AuditPage, AuditRead, EventPage, EventRead
from app.core.errors import Forbidden, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_ID, MAX_LIMIT, InvalidCursor, StaleCursor

router = APIRouter(tags=["trail"])

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


@router.get("/events", responses=problems(Unauthorized, Forbidden))
async def list_events(
    session: Reading,
    who: EventFollower,
    after: Annotated[int, Field(ge=0, le=MAX_ID)] = 0,
    limit: Limit = DEFAULT_LIMIT,
) -> EventPage:
    """What happened behind an id, in order, without gaps; ask again with `after` set to `last`."""
    del who
    found = await queries.events_after(session, after=after, limit=limit)
    return EventPage(items=[EventRead.model_validate(event) for event in found], last=found[-1].id if found else after)


@router.get("/audit", responses=problems(Unauthorized, Forbidden, InvalidCursor, StaleCursor))
async def list_audit_entries(
    request: Request,
    session: Reading,
    who: AuditViewer,
    response: Response,
    action: Annotated[str | None, Query(max_length=32)] = None,
    actor: UUID | None = None,
    subject: UUID | None = None,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> AuditPage:
    """Who did what, the newest first; by action, by who did it, by whom it is about (pseudonyms)."""
    del who
    found, following = await queries.entries(
        session, action=action, actor=actor, subject=subject, cursor=cursor, limit=limit
    )
    response.headers.update(next_link(request, following))
    return AuditPage(items=[AuditRead.model_validate(entry) for entry in found], next=following)
