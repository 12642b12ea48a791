"""The shapes of events, audit entries and views."""

from datetime import datetime
from uuid import UUID

from app.core.schemas import JsonObject, Read


class EventRead(Read):
    """One change of state; names no reader."""

    id: int
    kind: str
    happened_at: datetime
    book_id: int | None
    copy_id: int | None
    booking_id: UUID | None
    loan_id: UUID | None
    branch_id: str | None
    data: JsonObject


class EventPage(Read):
    """Events in order; ask again with `after` set to `last` for what has come since."""

    items: list[EventRead]
    last: int


class AuditRead(Read):
    """Who did what. `actor` and `subject` are pseudonyms: accounts that were erased can't be traced by them."""

    id: UUID
    action: str
    happened_at: datetime
    actor: UUID | None
    actor_role: str
    subject: UUID | None
    reason: str | None
    data: JsonObject


class AuditPage(Read):
    items: list[AuditRead]
    next: str | None


class ViewRead(Read):
    """A look at a reader's record, as he sees it."""

    seen_at: datetime
    what: str
    by: str | None
    role: str


class ViewPage(Read):
    items: list[ViewRead]
    next: str | None
