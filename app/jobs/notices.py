"""Sending notices: to whom, and whether what they say is still true."""

from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.service import letters as booking_letters
from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject
from app.jobs.failures import JobFailed
from app.loans.service import letters as loan_letters
from app.notifications import sending
from app.notifications.letters import Addressee
from app.notifications.models import Kind, Notice
from app.users import queries as users

_OF_LOANS: Final = frozenset({Kind.DUE_SOON, Kind.OVERDUE_1, Kind.OVERDUE_2, Kind.OVERDUE_3, Kind.RECALL})


async def send(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Send what is due; counts by `<kind> <result>`.

    Raises:
        JobFailed: the mail server is of no use now; what is left stays due.
    """
    check = partial(still_true, timezone=settings.timezone)
    sender = sending.Sender(database, settings, find_addressee, check)
    done = await sending.send_due(sender, now=now)
    result = {f"{kind} {outcome}": count for (kind, outcome), count in sorted(done.counts.items())}
    if done.trouble:
        raise JobFailed(done.trouble, result=result)
    return result


async def find_addressee(session: AsyncSession, reader_id: UUID) -> Addressee | None:
    user = await users.find(session, reader_id)
    return Addressee(user.email, user.full_name, user.locale) if user else None


async def still_true(session: AsyncSession, notice: Notice, *, timezone: str) -> bool:
    """Whether what a notice tells still holds; its cause begins with what it is about."""
    about = notice.cause.split(":")
    if notice.kind in _OF_LOANS:
        return await loan_letters.is_still_due(session, UUID(about[1]), notice.payload["due_on"], timezone)
    if notice.kind == Kind.BOOKING_READY:
        return await booking_letters.is_still_ready(session, UUID(about[1]))
    return True
