"""Readers and notices for tests of the outbox, and a run of its sender."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from uuid import UUID

from sqlalchemy import func, select

from app.core.config import Settings
from app.core.db import Database
from app.jobs import notices as job
from app.notifications import sending
from app.notifications import service as notifications
from app.notifications.models import Kind, Notice
from app.users import service as users
from app.users.models import Role

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PAYLOAD: dict[str, str | int | date] = {"title": "Dune", "branch": "Main library", "pickup_until_on": date(2026, 12, 4)}


async def add_reader(database: Database, name: str = "ada", *, locale: str = "en") -> UUID:
    async with database.transaction() as session:
        user = await users.create(
            session, email=f"{name}@library.test", password_hash="x", full_name=name, role=Role.READER, now=NOW
        )
        user.locale = locale
        return user.id


async def add_notices(
    database: Database, reader_id: UUID, count: int, *, title: str = "Dune", kind: Kind = Kind.BOOKING_READY
) -> None:
    """Notices with the causes `booking_ready:0` and so on, of bookings that aren't there."""
    for start in range(0, count, 1000):
        async with database.transaction() as session:
            for number in range(start, min(start + 1000, count)):
                assert await notifications.enqueue(
                    session,
                    kind=kind,
                    cause=f"{kind}:{number}",
                    reader_id=reader_id,
                    payload=PAYLOAD | {"title": f"{title} {number}"},
                    now=NOW,
                )


async def send(
    database: Database,
    settings: Settings,
    *,
    now: datetime = NOW,
    still_true: Callable[[Notice], bool] = lambda _: True,
) -> sending.Sent:
    async def is_true(_session: object, notice: Notice) -> bool:
        return still_true(notice)

    return await sending.send_due(sending.Sender(database, settings, job.find_addressee, is_true), now=now)


async def states(database: Database) -> Counter[str]:
    async with database.reading() as session:
        counted = await session.execute(select(Notice.state, func.count()).group_by(Notice.state))
        return Counter({row[0]: row[1] for row in counted})


async def only_notice(database: Database) -> Notice:
    async with database.reading() as session:
        return (await session.scalars(select(Notice))).one()
