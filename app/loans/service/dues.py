"""What a loan costs: being late by the local open day up to the cap, and the price of a copy that is lost."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.bookings.context import Context
from app.branches import service as branches
from app.charges import service as charges
from app.charges.models import Reason
from app.copies.models import Copy
from app.loans.models import Loan
from app.policies.rules import Terms
from app.users.models import User


async def charge_overdue(session: AsyncSession, *, loan: Loan, context: Context) -> int:
    """Charge what being late costs by the terms of the loan; returns the amount in minor units.

    The caller has locked the reader, as for every change of his account.
    """
    if context.now <= loan.due_at:
        return 0
    calendar = await branches.calendar(session, loan.branch_id, context.timezone)
    late_days = calendar.open_days_between(loan.due_at, context.now)
    amount = Terms(**loan.terms).fine_minor(late_days)
    if amount > 0:
        await _charge(session, loan, "overdue", amount, context)
    return amount


async def charge_lost(session: AsyncSession, *, loan: Loan, copy: Copy, context: Context) -> int:
    """Charge the copy's price and the policy's fee; returns the sum in minor units."""
    fee: int = loan.terms["lost_fee_minor"]
    for reason, amount in (("lost", copy.price_minor or 0), ("lost_fee", fee)):
        if amount > 0:
            await _charge(session, loan, reason, amount, context)
    return (copy.price_minor or 0) + fee


async def settle_found(session: AsyncSession, *, loan: Loan, context: Context) -> int:
    """Reverse the price of a copy that turned up (a credit if it was paid) and charge being late instead."""
    if loan.reader_id is None:
        return 0
    for entry in await charges.of_loan(session, loan_id=loan.id):
        if entry.reason == "lost":
            await charges.reverse(session, entry_id=entry.id, now=context.now, actor=context.actor.pseudonym)
    return await charge_overdue(session, loan=loan, context=context)


async def _charge(session: AsyncSession, loan: Loan, reason: str, amount_minor: int, context: Context) -> None:
    reader = await session.get_one(User, loan.reader_id)
    await charges.charge(
        session,
        subject=reader.pseudonym,
        reason=Reason(reason),
        amount_minor=amount_minor,
        loan_id=loan.id,
        branch=loan.branch_id,
        now=context.now,
        actor=context.actor.pseudonym,
    )
