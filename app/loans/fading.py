"""Privacy: the link between a reader and what he returned fades; what was done stays, without him."""

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.models import OPEN, Booking
from app.bookings.service import letters as booking_letters
from app.charges import service as charges
from app.loans.models import Loan, LoanStatus, Scan
from app.loans.service import letters as loan_letters
from app.notifications import service as notifications
from app.users.models import User


async def fade_loans(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Cut the reader from loans returned before that instant, unless he keeps his history; gives how many.

    With it go the link of its charges and its notices. Concurrent callers share the work.
    """
    statement = (
        select(Loan.id)
        .join(User, User.id == Loan.reader_id)
        .where(Loan.status == LoanStatus.RETURNED, Loan.returned_at < before, User.keeps_history.is_(False))
        .order_by(Loan.returned_at)
        .limit(limit)
        .with_for_update(of=Loan, skip_locked=True)
    )
    faded = list(await session.scalars(statement))
    for loan_id in faded:
        await charges.forget_loan(session, loan_id=loan_id)
        await notifications.forget(session, cause_prefix=loan_letters.prefix(loan_id))
    await session.execute(update(Loan).where(Loan.id.in_(faded)).values(reader_id=None))
    return len(faded)


async def forget_scans(session: AsyncSession, *, before: datetime) -> int:
    """Delete what was kept for taking scans back, which is possible for ten minutes only; gives how many."""
    found = await session.scalars(delete(Scan).where(Scan.scanned_at < before).returning(Scan.id))
    return len(found.all())


async def fade_bookings(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Cut the reader from bookings closed before that instant, unless he keeps his history; gives how many."""
    statement = (
        select(Booking.id)
        .join(User, User.id == Booking.reader_id)
        .where(Booking.status.not_in(OPEN), Booking.closed_at < before, User.keeps_history.is_(False))
        .order_by(Booking.closed_at)
        .limit(limit)
        .with_for_update(of=Booking, skip_locked=True)
    )
    faded = list(await session.scalars(statement))
    for booking_id in faded:
        await notifications.forget(session, cause_prefix=booking_letters.prefix(booking_id))
    await session.execute(update(Booking).where(Booking.id.in_(faded)).values(reader_id=None))
    return len(faded)
