"""Giving a copy another status by hand: in repair, missing, withdrawn, or back on the shelf."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.books import service as books
from app.copies import service as copy_service
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.errors import Conflict


class StatusNotAllowed(Conflict):
    code, detail = "status_not_allowed", "A copy that is {state} can't be made {wanted}."


_SETTABLE: Final = frozenset({CopyStatus.IN_REPAIR, CopyStatus.MISSING, CopyStatus.WITHDRAWN})
_RESTORABLE: Final = frozenset({CopyStatus.IN_REPAIR, CopyStatus.MISSING})


async def restate(session: AsyncSession, *, copy_id: int, status: CopyStatus, reason: str, context: Context) -> Copy:
    """Change a copy's status without a loan; the same status again changes nothing. Locks book and copy.

    A booking to which it was promised waits again in its old place, and gets another free copy if there is one; a copy
    that comes back goes to whoever waits.

    Raises:
        CopyNotFound, CopyGone, StatusNotAllowed.
    """
    seen = await copy_service.get(session, copy_id=copy_id)
    await books.hold_of(session, seen)
    copy = await copy_service.present(session, copy_id)
    if copy.status == status:
        return copy
    _check(copy, status)
    was = copy.status
    booking = await booking_queries.promised(session, copy.id)
    if booking:
        await bookings.back_to_queue(session, booking=booking, context=context, reason=reason)
    copy.transit_to_id = None
    copy.status = status
    change = Change("copy_status_changed", book_id=copy.book_id, copy_id=copy.id, branch_id=copy.at_branch_id)
    data = {"from": was, "to": status}
    await audit.record(session, change, actor=context.actor, now=context.now, reason=reason, data=data)
    await session.flush()
    if status == CopyStatus.AVAILABLE:
        await bookings.pass_on(session, copy=copy, in_hand=False, context=context)
    elif booking:
        await bookings.settle(session, book_id=copy.book_id, context=context)
    return copy


def _check(copy: Copy, wanted: CopyStatus) -> None:
    is_set_aside = wanted in _SETTABLE and copy.status not in {CopyStatus.ON_LOAN, CopyStatus.WITHDRAWN}
    is_lost_kept = copy.status == CopyStatus.LOST and wanted is not CopyStatus.WITHDRAWN
    comes_back = wanted is CopyStatus.AVAILABLE and copy.status in _RESTORABLE
    if not comes_back and (not is_set_aside or is_lost_kept):
        raise StatusNotAllowed(state=copy.status.replace("_", " "), wanted=wanted.replace("_", " "))
