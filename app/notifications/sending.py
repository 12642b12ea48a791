"""Sending: takes due notices one by one and hands their letters over, with no transaction open meanwhile.

1. Nothing due: done. The mail server can't be used: nothing is touched.
2. Take the notice that has been due longest; that plans its next attempt (app/notifications/service.py).
3. Look whether it is still true and to whom it goes; else drop it.
4. Write the letter and hand it over.
5. Note what became of it, and go on with 2.

Killed between 4 and 5, the letter goes out once more with the same Message-ID; killed anywhere else, nothing happens
twice or never. What goes wrong with one notice ends step 4 for it alone.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import mail
from app.core.config import Settings
from app.core.db import Database
from app.notifications import letters, service
from app.notifications.letters import Addressee
from app.notifications.models import Kind, Notice, State

log = structlog.get_logger()

MAX_RUN_SECONDS: Final = 300
# So many letters in a row without any answer: the server accepts connections and does no more.
MAX_SILENT: Final = 3

FindAddressee = Callable[[AsyncSession, UUID], Awaitable[Addressee | None]]
StillTrue = Callable[[AsyncSession, Notice], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Sent:
    """How many notices ended how, by (kind, result); `trouble` is why the run ended early, if it did."""

    counts: Counter[tuple[str, str]]
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Sender:
    """What a run works with; `find_addressee` and `still_true` know what is above this feature."""

    database: Database
    settings: Settings
    find_addressee: FindAddressee
    still_true: StillTrue


async def send_due(sender: Sender, *, now: datetime) -> Sent:
    """Send what is due, for five minutes at most. Any number of processes may do so at once."""
    counts: Counter[tuple[str, str]] = Counter()
    started = time.monotonic()
    silent = 0
    async with mail.Carrier(sender.settings) as carrier:
        try:
            async with sender.database.reading() as session:
                if not await service.is_any_due(session, now=now):
                    return Sent(counts, None)
            while time.monotonic() - started < MAX_RUN_SECONDS and silent < MAX_SILENT:
                await carrier.connect()
                instant = now + timedelta(seconds=time.monotonic() - started)
                async with sender.database.transaction() as session:
                    notice = await service.take(session, now=instant)
                if notice is None:
                    return Sent(counts, None)
                result, is_silent = await _finish(_attempt(sender, carrier, notice, instant))
                counts[notice.kind, result] += 1
                silent = silent + 1 if is_silent else 0
        except mail.ServerUnavailable as error:
            return Sent(counts, f"the mail server can't be used: {error}")
    return Sent(counts, "the mail server answers no letter" if silent == MAX_SILENT else None)


async def _attempt(sender: Sender, carrier: mail.Carrier, notice: Notice, now: datetime) -> tuple[str, bool]:
    """What became of it: the result, and whether the server kept silent."""
    error, is_silent = None, False
    try:
        state = await _deliver(sender, carrier, notice, now)
    except mail.Refused as refusal:
        state, error = State.FAILED, str(refusal)
        log.warning("notice_refused", notice=str(notice.id), kind=notice.kind)
    except mail.MailError as trouble:
        state, error, is_silent = State.PENDING, str(trouble), getattr(trouble, "is_silent", False)
    except Exception as fault:  # whatever it is, it stays this notice's own trouble
        state, error = State.PENDING, type(fault).__name__
        log.exception("notice_failed", notice=str(notice.id), kind=notice.kind)
    if state is State.PENDING and notice.attempts >= service.MAX_ATTEMPTS:
        state = State.FAILED
        log.error("notice_given_up", notice=str(notice.id), kind=notice.kind, attempts=notice.attempts)
    async with sender.database.transaction() as session:
        await service.settle(session, notice_id=notice.id, state=state, error=error, now=now)
    return "delayed" if state is State.PENDING else state.value, is_silent


async def _deliver(sender: Sender, carrier: mail.Carrier, notice: Notice, now: datetime) -> State:
    if notice.attempts > service.MAX_ATTEMPTS:  # killed in its last attempt
        return State.FAILED
    async with sender.database.reading() as session:
        addressee = await sender.find_addressee(session, notice.reader_id)
        if addressee is None or not await sender.still_true(session, notice):
            return State.DROPPED
    settings = sender.settings
    letter = letters.write(
        Kind(notice.kind),
        notice.payload,
        addressee=addressee,
        library=settings.project_name,
        address=settings.address,
        today=now.astimezone(ZoneInfo(settings.timezone)).date(),
    )
    identity = mail.message_id(settings, str(notice.id))
    await carrier.deliver(mail.compose(settings, letter, identity=identity, now=now))
    return State.SENT


async def _finish(attempt: Awaitable[tuple[str, bool]]) -> tuple[str, bool]:
    """Let an attempt come to its end when the run is cancelled: a letter half sent would go out again."""
    task = asyncio.ensure_future(attempt)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
