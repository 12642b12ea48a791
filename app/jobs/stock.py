"""Taking stock: how much is lent, booked and waiting right now, for the metrics."""

from datetime import datetime
from typing import Final

from sqlalchemy import Select, func, select, union
from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.models import OPEN, Booking
from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject
from app.imports.models import ImportJob
from app.imports.schemas import ImportStatus
from app.loans.models import Loan, LoanStatus
from app.notifications.models import Notice, State

_IS_LENT: Final = Loan.status == LoanStatus.OPEN
_IS_OPEN: Final = Booking.status.in_(OPEN)
_NOTICES: Final[Select[int, datetime | None]] = select(func.count(), func.min(Notice.created_at)).where(
    Notice.state == State.PENDING
)
_IMPORTS: Final[Select[int, datetime | None]] = select(func.count(), func.min(ImportJob.created_at)).where(
    ImportJob.status.in_((ImportStatus.QUEUED, ImportStatus.RUNNING))
)


async def take(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Count what app/core/figures.py exports; only rows that are open are read, each by an index of these."""
    del settings
    holders = union(select(Loan.reader_id).where(_IS_LENT), select(Booking.reader_id).where(_IS_OPEN)).subquery()
    async with database.reading() as session:
        by_status = select(Booking.status, func.count()).where(_IS_OPEN).group_by(Booking.status)
        bookings = {row[0]: row[1] for row in await session.execute(by_status)}
        stock: JsonObject = {
            "readers_active": await session.scalar(select(func.count()).select_from(holders)),
            "loans_open": await session.scalar(select(func.count()).where(_IS_LENT)),
            "loans_overdue": await session.scalar(select(func.count()).where(_IS_LENT, Loan.due_at < now)),
            **{f"bookings_open {status}": bookings.get(status, 0) for status in OPEN},
        }
        for name, waiting in (("notices", _NOTICES), ("imports", _IMPORTS)):
            stock |= await _queue(session, name, waiting, now)
    return {"stock": stock}


async def _queue(
    session: AsyncSession, name: str, waiting: Select[int, datetime | None], now: datetime
) -> dict[str, float]:
    count, oldest_at = (await session.execute(waiting)).one()
    age_seconds = max(0.0, (now - oldest_at).total_seconds()) if oldest_at else 0.0
    return {f"{name}_pending": count, f"{name}_oldest_seconds": round(age_seconds, 3)}
