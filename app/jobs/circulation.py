"""Circulation by the clock: expired pickups, resumed bookings, reminders, fading links, and the checker."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from app.audit.service import SYSTEM
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.core.config import Settings
from app.core.db import WHOLE_LIBRARY_SECONDS, Database
from app.core.errors import AppError
from app.core.schemas import JsonObject
from app.idempotency import service as idempotency
from app.jobs.failures import JobFailed
from app.loans import fading, invariants, popularity
from app.loans import queries as loan_queries
from app.loans.service import letters
from app.policies import service as policies

BATCH: Final = 200


async def expire_holds(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Let bookings go that were not collected in time; each copy goes to the next in line. One transaction each."""
    expired = 0
    while True:
        async with database.reading() as session:
            due = await booking_queries.overdue_for_pickup(session, now=now, limit=BATCH)
        done = [await _expire(database, settings, now, booking_id) for booking_id, _ in due]
        expired += sum(done)
        if not any(done):
            return {"expired": expired}


async def _expire(database: Database, settings: Settings, now: datetime, booking_id: UUID) -> bool:
    async with database.transaction() as session:
        context = Context(now, SYSTEM, await policies.rulebook(session), settings.timezone)
        return await bookings.expire(session, booking_id=booking_id, context=context)


async def resume_bookings(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Put suspended bookings back in line on the day that their reader named."""
    today = now.astimezone(ZoneInfo(settings.timezone)).date()
    async with database.reading() as session:
        due = await booking_queries.to_resume(session, today=today, limit=BATCH)
    resumed = 0
    for booking_id in due:
        async with database.transaction() as session:
            context = Context(now, SYSTEM, await policies.rulebook(session), settings.timezone)
            try:
                await bookings.resume(session, booking_id=booking_id, is_mine=lambda _: True, context=context)
            except AppError:  # its reader was faster: resumed or cancelled by hand
                continue
            resumed += 1
    return {"resumed": resumed}


async def hand_out(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Give free copies to whoever waits for them: finds nothing, unless a rule changed while somebody booked."""
    async with database.transaction() as session:
        context = Context(now, SYSTEM, await policies.rulebook(session), settings.timezone)
        return {"books": await bookings.settle_all(session, context=context)}


async def remind(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Put reminders of loans that are due soon or overdue into the outbox, each once."""
    told, after = 0, None
    until = now + timedelta(days=letters.DUE_SOON_DAYS)
    while True:
        async with database.transaction() as session:
            found = await loan_queries.due_until(session, until=until, after=after, limit=BATCH)
            for loan in found:
                told += await letters.remind(session, loan=loan, now=now, timezone=settings.timezone)
        if len(found) < BATCH:
            return {"told": told}
        after = (found[-1].due_at, found[-1].id)


async def purge_history(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Cut the link between readers and what they returned, once the retention has passed and unless they keep it."""
    before = now - timedelta(days=settings.history_retention_days)
    counts: dict[str, int] = {"loans": 0, "bookings": 0}
    for name, fade in (("loans", fading.fade_loans), ("bookings", fading.fade_bookings)):
        while True:
            async with database.transaction() as session:
                faded = await fade(session, before=before, limit=BATCH)
            counts[name] += faded
            if faded < BATCH:
                break
    async with database.transaction() as session:
        counts["scans"] = await fading.forget_scans(session, before=now - timedelta(days=1))
    return dict(counts)


async def count_popularity(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Count how often each book was lent in the last year."""
    del settings
    async with database.reading(seconds=WHOLE_LIBRARY_SECONDS) as session:
        counted = await popularity.changes(session, now=now)
    noted = 0
    for start in range(0, len(counted), BATCH):
        async with database.transaction() as session:
            noted += await popularity.note(session, counted[start : start + BATCH])
    return {"books": noted}


async def purge_idempotency(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Forget answers that were kept for a day."""
    del settings
    async with database.transaction() as session:
        return {"deleted": await idempotency.purge(session, now=now)}


async def check_invariants(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Look for states that must never be found together.

    Raises:
        JobFailed: with what was found.
    """
    del settings, now
    async with database.reading(seconds=WHOLE_LIBRARY_SECONDS) as session:
        found = await invariants.violations(session, rules=await policies.rulebook(session))
    listed = [f"invariant {item.invariant}, {item.rule}: {item.what}" for item in found]
    if listed:
        raise JobFailed(f"{len(listed)} violations", result={"violations": listed})
    return {"violations": []}
