"""A reader's own books: what is due, what is ready, what he waits for; renewing, cancelling, putting off."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import read_bookings, read_loans
from app.api.deps import SignedIn
from app.api.v1.endpoints.charges import statement_of
from app.auth.service import Identity
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.core.errors import AppError
from app.loans import queries as loan_queries
from app.loans import service as loans
from app.loans.models import LoanStatus
from app.web.catalogue import MANY, branch_names
from app.web.page import Page, View

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one loan when all were to be renewed."""

    title: str
    refusal: AppError | None


@router.get("/account")
async def mailed_address(page: Page) -> Response:
    """Where letters lead."""
    return page.go("/me")


@router.get("/me")
async def mine(page: Page, who: SignedIn) -> Response:
    """What to do now: what is overdue, ready, due, waiting."""
    return await _show(page, who)


async def _show(
    page: View, who: Identity, *, error: AppError | None = None, told: list[Told] | None = None
) -> Response:
    async with page.database.reading() as session:
        facts = await books_of(session, page, who.user_id)
        owed = await statement_of(session, who.pseudonym, page.settings.currency, None, 1)
        facts |= {"owed": owed.balance, "branches": await branch_names(session)}
    problem = page.words.refusal(error) if error else None
    return page.show("mine.html", error.status if error else 200, problem=problem, errors={}, told=told or [], **facts)


async def books_of(session: AsyncSession, page: View, reader_id: UUID) -> dict[str, Any]:
    """A reader's open loans by due date, and his bookings, those to collect first."""
    lent, _ = await loan_queries.page(session, reader_id=reader_id, status=LoanStatus.OPEN, cursor=None, limit=MANY)
    booked, _ = await booking_queries.page(session, reader_id=reader_id, status="open", cursor=None, limit=MANY)
    waiting = await read_bookings(session, booked)
    return {
        "loans": sorted(await read_loans(session, lent, now=page.now), key=lambda loan: loan.due_at),
        "ready": [booking for booking in waiting if booking.status == "ready"],
        "waiting": [booking for booking in waiting if booking.status != "ready"],
    }


@router.post("/me/loans/renew")
async def renew_all(page: Page, who: SignedIn) -> Response:
    """Prolong all loans; each is judged by itself."""
    told: list[Told] = []
    async with page.changing() as session:
        context = await page.context(session)
        page.answered = "/me"
        lent, _ = await loan_queries.page(
            session, reader_id=who.user_id, status=LoanStatus.OPEN, cursor=None, limit=MANY
        )
        for loan in await read_loans(session, lent, now=page.now):
            try:
                async with session.begin_nested():
                    await loans.renew(session, loan_id=loan.id, is_mine=_his(who), context=context)
                told.append(Told(loan.title, None))
            except AppError as error:
                told.append(Told(loan.title, error))
    return await _show(page, who, told=told)


@router.post("/me/loans/{loan_id}/renew")
async def renew(page: Page, who: SignedIn, loan_id: UUID) -> Response:
    """Prolong one loan."""
    return await _do(page, who, "renewed", lambda s, c: loans.renew(s, loan_id=loan_id, is_mine=_his(who), context=c))


@router.post("/me/loans/{loan_id}/claim")
async def claim_returned(page: Page, who: SignedIn, loan_id: UUID) -> Response:
    """Say that it was brought back already."""
    return await _do(
        page, who, "claimed", lambda s, c: loans.claim_returned(s, loan_id=loan_id, is_mine=_his(who), context=c)
    )


@router.post("/me/bookings/{booking_id}/cancel")
async def cancel(page: Page, who: SignedIn, booking_id: UUID) -> Response:
    """Give a booking up."""
    return await _do(
        page, who, "cancelled",
        lambda s, c: bookings.cancel(s, booking_id=booking_id, is_mine=_his(who), context=c, reason=None),
    )  # fmt: skip


@router.post("/me/bookings/{booking_id}/suspend")
async def suspend(page: Page, who: SignedIn, booking_id: UUID) -> Response:
    """Let others go first for a while."""
    return await _do(
        page, who, "suspended",
        lambda s, c: bookings.suspend(s, booking_id=booking_id, is_mine=_his(who), until=None, context=c),
    )  # fmt: skip


@router.post("/me/bookings/{booking_id}/resume")
async def resume(page: Page, who: SignedIn, booking_id: UUID) -> Response:
    """Wait again."""
    return await _do(
        page, who, "resumed", lambda s, c: bookings.resume(s, booking_id=booking_id, is_mine=_his(who), context=c)
    )


async def _do(page: View, who: Identity, said: str, act: Callable[[AsyncSession, Context], Awaitable[Any]]) -> Response:
    try:
        async with page.changing() as session:
            await act(session, await page.context(session))
            return page.go("/me", said)
    except AppError as error:
        return await _show(page, who, error=error)


def _his(who: Identity) -> Callable[[Any], bool]:
    """Whether a loan or booking is the reader's own: on these pages staff act for themselves too."""
    return lambda row: row.reader_id == who.user_id
