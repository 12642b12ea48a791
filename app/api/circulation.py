"""What endpoints of circulation share: who acts where by which rules, and bookings and loans as answered."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CurrentSettings, Now, WithFactor, Writing
from app.audit.service import Actor
from app.auth.service import Identity
from app.bookings import queries as booking_queries
from app.bookings.context import Context
from app.bookings.models import Booking
from app.bookings.schemas import BookingRead
from app.books import queries as book_queries
from app.books.schemas import Availability
from app.branches import service as branches
from app.copies import queries as copy_queries
from app.copies import service as copies
from app.core.errors import Unprocessable
from app.loans import queries as loan_queries
from app.loans.models import Loan, LoanStatus
from app.loans.schemas import LoanRead
from app.loans.service.expect import expectations
from app.policies import service as policies
from app.users import queries as user_queries


class BranchRequired(Unprocessable):
    code, detail = "branch_required", "The library has several branches; say in `branch` where this happens."


async def _context(session: Writing, who: WithFactor, settings: CurrentSettings, now: Now) -> Context:
    rules = await policies.rulebook(session)
    return Context(now=now, actor=actor_of(who), rules=rules, timezone=settings.timezone)


Circulation = Annotated[Context, Depends(_context)]


def actor_of(who: Identity) -> Actor:
    """Staff leave their pseudonym; a reader who acts for himself leaves only his role."""
    return Actor(who.pseudonym if who.is_staff else None, who.role)


async def desk_branch(session: AsyncSession, who: Identity, asked: str | None) -> str:
    """Where the desk stands: the branch named, the librarian's own, or the only one.

    Raises:
        UnknownBranch, BranchRequired.
    """
    if asked is not None:
        await branches.check_open(session, asked)
        return asked
    candidates = await branches.open_ids(session)
    if len(candidates) > 1:
        own = await user_queries.staff_branches(session, who.user_id)
        candidates = [branch_id for branch_id in candidates if branch_id in own] or candidates
    if len(candidates) != 1:
        raise BranchRequired
    return candidates[0]


async def pickup_branch(session: AsyncSession, reader_id: UUID, asked: str | None) -> str:
    """Where a reader collects: the branch named, his home branch, or the only one.

    Raises:
        BranchRequired.
    """
    if asked is not None:
        return asked
    home = await user_queries.home_branch(session, reader_id)
    if home is not None:
        return home
    candidates = await branches.open_ids(session)
    if len(candidates) != 1:
        raise BranchRequired
    return candidates[0]


def has_on_loan(session: AsyncSession, reader_id: UUID, book_id: int) -> Callable[[], Awaitable[bool]]:
    """The question that a booking asks of the loans, which stand above it."""

    async def ask() -> bool:
        return await loan_queries.has_book(session, reader_id=reader_id, book_id=book_id)

    return ask


async def live_counts(session: AsyncSession, book_ids: Collection[int]) -> dict[int, Availability]:
    """Copies, free copies and waiting readers of some books, in two statements."""
    waiting = await booking_queries.waiting(session, book_ids)
    return await copies.availability(session, book_ids=book_ids, waiting=waiting)


async def read_bookings(session: AsyncSession, found: Sequence[Booking]) -> list[BookingRead]:
    """Bookings with title, place and expectation, in four statements however many they are."""
    titles = await book_queries.titles(session, {booking.book_id for booking in found})
    places = await booking_queries.ahead_of(session, found)
    ahead = {booking_id: total for booking_id, (total, _) in places.items()}
    expected = await expectations(session, bookings=found, ahead=ahead)
    return [_booking(booking, titles, places, expected) for booking in found]


def _booking(
    booking: Booking,
    titles: dict[int, str],
    places: dict[UUID, tuple[int, int]],
    expected: dict[UUID, datetime],
) -> BookingRead:
    total, by_priority = places.get(booking.id, (None, None))
    return BookingRead.model_validate(
        {
            "id": booking.id,
            "book_id": booking.book_id,
            "title": titles[booking.book_id],
            "status": booking.status,
            "pickup_branch": booking.pickup_branch_id,
            "placed_at": booking.placed_at,
            "position": None if total is None else total + 1,
            "ahead": total,
            "ahead_by_priority": by_priority,
            "expected_at": expected.get(booking.id),
            "pickup_until": booking.pickup_until,
            "suspended_until": booking.suspended_until,
            "closed_at": booking.closed_at,
        }
    )


async def read_loans(session: AsyncSession, found: Collection[Loan], *, now: datetime) -> list[LoanRead]:
    """Loans with title and barcode, in two statements however many they are."""
    titles = await book_queries.titles(session, {loan.book_id for loan in found})
    barcodes = await copy_queries.barcodes(session, {loan.copy_id for loan in found})
    return [read_loan(loan, title=titles[loan.book_id], barcode=barcodes[loan.copy_id], now=now) for loan in found]


def read_loan(loan: Loan, *, title: str, barcode: str, now: datetime, scan_id: UUID | None = None) -> LoanRead:
    """A loan as it is answered."""
    return LoanRead.model_validate(
        {
            "id": loan.id,
            "status": loan.status,
            "copy_id": loan.copy_id,
            "copy_barcode": barcode,
            "book_id": loan.book_id,
            "title": title,
            "branch": loan.branch_id,
            "checked_out_at": loan.checked_out_at,
            "due_at": loan.due_at,
            "is_overdue": loan.status == LoanStatus.OPEN and loan.due_at < now,
            "returned_at": loan.returned_at,
            "claimed_returned_at": loan.claimed_returned_at,
            "recalled_at": loan.recalled_at,
            "renewals": loan.renewals,
            "renewals_left": max(0, loan.terms["renewals"] - loan.renewals),
            "scan_id": scan_id,
        }
    )
