"""Sending notices: to whom, and whether what they say is still true."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject
from app.jobs.failures import JobFailed
from app.notifications import sending
from app.notifications.letters import Addressee
from app.notifications.models import Kind, Notice
from app.users import queries as users

# What must hold of a notice in the moment before it is sent; a kind that isn't here always holds.
CHECKS: Final[Mapping[Kind, Callable[[AsyncSession, Notice], Awaitable[bool]]]] = MappingProxyType({})


async def send(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Send what is due; counts by `<kind> <result>`.

    Raises:
        JobFailed: the mail server is of no use now; what is left stays due.
    """
    sender = sending.Sender(database, settings, find_addressee, still_true)
    done = await sending.send_due(sender, now=now)
    result = {f"{kind} {outcome}": count for (kind, outcome), count in sorted(done.counts.items())}
    if done.trouble:
        raise JobFailed(done.trouble, result=result)
    return result


async def find_addressee(session: AsyncSession, reader_id: UUID) -> Addressee | None:
    user = await users.find(session, reader_id)
    return Addressee(user.email, user.full_name, user.locale) if user else None


async def still_true(session: AsyncSession, notice: Notice) -> bool:
    check = CHECKS.get(Kind(notice.kind))
    return check is None or await check(session, notice)
