"""Scans: what the desk did last, kept with the state that it found, and taking a wrong one back."""

from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings import queries as booking_queries
from app.bookings.context import Context
from app.bookings.models import Booking
from app.copies.models import Copy
from app.loans import holding
from app.loans.models import Loan


@dataclass(slots=True)
class Snapshot:
    """A copy's state before a scan, and the booking that the scan closed or displaced, if any."""

    status: str
    at_branch_id: str
    transit_to_id: str | None
    booking: dict[str, Any] | None = None
    loan: dict[str, Any] = field(default_factory=dict)

    def keep_booking(self, booking: Booking) -> None:
        self.booking = {
            "id": str(booking.id),
            "status": booking.status,
            "copy_id": booking.copy_id,
            "pickup_until": booking.pickup_until.isoformat() if booking.pickup_until else None,
        }


async def snapshot(session: AsyncSession, copy: Copy, *, is_promised: bool) -> Snapshot:
    """The state of a locked copy, with the booking that it is promised to, if it is."""
    found = Snapshot(copy.status, copy.at_branch_id, copy.transit_to_id)
    if is_promised and (booking := await booking_queries.promised(session, copy.id)):
        found.keep_booking(booking)
    return found


async def keep_scan(
    session: AsyncSession, *, kind: str, copy: Copy, before: Snapshot, loan: Loan, context: Context
) -> UUID:
    """Keep what a scan changed; returns the id by which it can be undone."""
    before.loan |= {"id": str(loan.id)}
    scan_id = uuid_utils.uuid7()
    await holding.keep_scan(
        session,
        id=scan_id,
        kind=kind,
        copy_id=copy.id,
        scanned_at=context.now,
        actor=context.actor.pseudonym,
        before=asdict(before),
    )
    return scan_id
