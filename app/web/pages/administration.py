"""Where administration begins, and the audit trail."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api.deps import AuditViewer, PolicyEditor
from app.audit import queries
from app.users import queries as users
from app.web.page import Page

router = APIRouter()


@router.get("/administration")
async def start(page: Page, who: PolicyEditor) -> Response:
    """What there is to keep."""
    del who
    return page.show("administration.html")


@router.get("/audit")
async def trail(
    page: Page,
    who: AuditViewer,
    action: Annotated[str, Query(max_length=32)] = "",
    actor: UUID | None = None,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
) -> Response:
    """Who did what, the newest first."""
    del who
    async with page.database.reading() as session:
        found, following = await queries.entries(session, action=action or None, actor=actor, cursor=cursor, limit=50)
        people = {pseudonym for entry in found for pseudonym in (entry.actor, entry.subject) if pseudonym}
        names = await users.names(session, people)
    return page.show("audit.html", entries=found, names=names, following=following, action=action, actor=actor)
