"""What readers are told of their loans: due soon, overdue in three steps, wanted back."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from app.books import queries as books
from app.branches import service as branches
from app.loans import queries
from app.loans.models import Loan, LoanStatus
from app.notifications import service as notifications
from app.notifications.models import Kind

# A notice of each step goes out once for each due date, so many days before (negative) or after it.
DUE_SOON_DAYS: Final = 3
OVERDUE_STEPS: Final = ((1, Kind.OVERDUE_1), (8, Kind.OVERDUE_2), (22, Kind.OVERDUE_3))


def prefix(loan_id: UUID) -> str:
    """The beginning of every cause that is about this loan."""
    return f"loan:{loan_id}:"


async def remind(session: AsyncSession, *, loan: Loan, now: datetime, timezone: str) -> bool:
    """Tell the reader of an open loan what is due to be told by its date; False if that was told before."""
    kind = step_for(loan.due_at, now)
    if kind is None or loan.claimed_returned_at is not None:
        return False
    return await _tell(session, kind, loan, now, timezone)


def step_for(due_at: datetime, now: datetime) -> Kind | None:
    """The last step whose day has come; earlier ones that were missed are not told any more."""
    reached = [kind for days, kind in OVERDUE_STEPS if now >= due_at + timedelta(days=days)]
    if reached:
        return reached[-1]
    return Kind.DUE_SOON if due_at > now >= due_at - timedelta(days=DUE_SOON_DAYS) else None


async def tell_recalled(session: AsyncSession, *, loan: Loan, now: datetime, timezone: str) -> None:
    await _tell(session, Kind.RECALL, loan, now, timezone)


async def take_back(session: AsyncSession, *, loan: Loan) -> None:
    """The loan is closed or has a new date: what has not gone out yet is no longer true."""
    await notifications.withdraw(session, cause_prefix=prefix(loan.id))


async def is_still_due(session: AsyncSession, loan_id: UUID, due_on: str, timezone: str) -> bool:
    """Whether the loan is still open and due on the day that a notice tells, in the moment before it is sent."""
    loan = await queries.find(session, loan_id)
    if loan is None or loan.status != LoanStatus.OPEN:
        return False
    return await _due_on(session, loan, timezone) == due_on


async def _tell(session: AsyncSession, kind: Kind, loan: Loan, now: datetime, timezone: str) -> bool:
    if loan.reader_id is None:
        return False
    title = (await books.titles(session, [loan.book_id]))[loan.book_id]
    due_on = await _due_on(session, loan, timezone)
    left = max(0, loan.terms["renewals"] - loan.renewals)
    return await notifications.enqueue(
        session,
        kind=kind,
        cause=f"{prefix(loan.id)}{kind}:{due_on}",
        reader_id=loan.reader_id,
        payload={"title": title, "due_on": due_on, "renewals_left": left},
        now=now,
    )


async def _due_on(session: AsyncSession, loan: Loan, timezone: str) -> str:
    branch = await branches.calendar(session, loan.branch_id, timezone)
    zone: ZoneInfo = branch.zone
    return loan.due_at.astimezone(zone).date().isoformat()
