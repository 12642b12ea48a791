"""Who may book and borrow: the reader's standing, checked under his lock so that limits hold."""

from collections.abc import Collection
from datetime import date, datetime
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.context import Context
from app.core.errors import Conflict, NotFound
from app.users import queries as users


class Standing(Protocol):
    """What of a reader says whether he may book and borrow."""

    @property
    def expires_on(self) -> date | None: ...

    @property
    def blocked_reason(self) -> str | None: ...


class Reader(Standing, Protocol):
    """The same, and by which rules."""

    @property
    def category(self) -> str: ...


class ReaderNotFound(NotFound):
    code, detail = "reader_not_found", "No reader has this card."


class CardExpired(Conflict):
    code, detail = "card_expired", "The card expired on {expired_on}; renew it at the desk."


class ReaderBlocked(Conflict):
    code, detail = "reader_blocked", "The account is blocked: {why}. Ask at the desk."


async def hold_reader(session: AsyncSession, reader_id: UUID) -> Reader:
    """The reader, locked: the first lock of every path that needs one.

    Raises:
        ReaderNotFound.
    """
    reader: Reader | None = await users.hold(session, reader_id)
    if reader is None:
        raise ReaderNotFound
    return reader


def check_standing(reader: Standing, *, context: Context, lifted: Collection[str] = ()) -> None:
    """Raise CardExpired or ReaderBlocked unless the rule is among those lifted by an override."""
    if reader.expires_on and _today(context.now, context.timezone) > reader.expires_on and "expired" not in lifted:
        raise CardExpired(expired_on=reader.expires_on.isoformat())
    if reader.blocked_reason and "blocked" not in lifted:
        raise ReaderBlocked(why=reader.blocked_reason)


def _today(now: datetime, timezone: str) -> date:
    return now.astimezone(ZoneInfo(timezone)).date()
