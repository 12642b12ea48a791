"""The checker: states of copies, bookings and loans that must never be found together, one statement each."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, String, and_, cast, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.audit.models import Event
from app.bookings import queries as booking_queries
from app.bookings.models import OPEN, PROMISED, Booking, BookingStatus
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.loans.models import Loan, LoanStatus
from app.policies.rules import Rulebook

SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant (product.md §2) and the thing that breaks it."""

    invariant: int
    rule: str
    what: str


async def violations(session: AsyncSession, *, rules: Rulebook) -> list[Violation]:
    """Everything that contradicts an invariant, at most twenty of a kind.

    Reads the open state of the whole library, in a session whose statements may take WHOLE_LIBRARY_SECONDS.
    """
    found = [
        Violation(invariant, rule, str(what))
        for invariant, rule, statement in _STATEMENTS
        for what in await session.scalars(statement.limit(SHOWN))
    ]
    found += [violation async for violation in _waiting_beside_free(session, rules)]
    return found


def _promised_to() -> Any:
    return and_(Booking.copy_id == Copy.id, Booking.status.in_(PROMISED))


def _lent_out() -> Any:
    return and_(Loan.copy_id == Copy.id, Loan.status == LoanStatus.OPEN)


def _copies(*conditions: Any) -> Select[str]:
    return select(cast(Copy.id, String)).where(*conditions)


_other_loan = aliased(Loan)
_other_booking = aliased(Booking)
_is_promised: Final = exists().where(_promised_to())
_is_lent: Final = exists().where(_lent_out())
_OUT_OF_USE: Final = (CopyStatus.LOST, CopyStatus.MISSING, CopyStatus.IN_REPAIR, CopyStatus.WITHDRAWN)

_STATEMENTS: Final[tuple[tuple[int, str, Select[Any]], ...]] = (
    (
        1,
        "a copy has at most one open loan",
        select(cast(Loan.copy_id, String))
        .where(Loan.status == LoanStatus.OPEN)
        .group_by(Loan.copy_id)
        .having(func.count() > 1),
    ),
    (
        2,
        "a copy is promised to at most one open booking",
        select(cast(Booking.copy_id, String))
        .where(Booking.status.in_(PROMISED))
        .group_by(Booking.copy_id)
        .having(func.count() > 1),
    ),
    (
        3,
        "a reader has at most one open booking for a book",
        select(cast(Booking.book_id, String))
        .where(Booking.status.in_(OPEN))
        .group_by(Booking.reader_id, Booking.book_id)
        .having(func.count() > 1),
    ),
    (
        3,
        "a reader books nothing that he has on loan",
        select(cast(Booking.id, String)).where(
            Booking.status.in_(OPEN),
            exists().where(
                Loan.reader_id == Booking.reader_id, Loan.book_id == Booking.book_id, Loan.status == LoanStatus.OPEN
            ),
        ),
    ),
    (5, "on loan means one open loan", _copies((Copy.status == CopyStatus.ON_LOAN) != _is_lent)),
    (
        5,
        "reserved or on the hold shelf means promised and not lent",
        _copies(
            Copy.status.in_((CopyStatus.RESERVED, CopyStatus.ON_HOLD_SHELF)), or_(~_is_promised, _is_lent)
        ),
    ),
    (
        5,
        "promised means reserved, on its way or on the hold shelf",
        _copies(
            _is_promised,
            Copy.status.not_in((CopyStatus.RESERVED, CopyStatus.ON_HOLD_SHELF, CopyStatus.IN_TRANSIT)),
        ),
    ),
    (5, "ready means on the hold shelf of the pickup branch", _copies(
        exists().where(
            Booking.copy_id == Copy.id,
            Booking.status == BookingStatus.READY,
            or_(Copy.status != CopyStatus.ON_HOLD_SHELF, Copy.at_branch_id != Booking.pickup_branch_id),
        )
    )),
    (5, "on its way means knowing where to", _copies(
        (Copy.status == CopyStatus.IN_TRANSIT) != Copy.transit_to_id.is_not(None)
    )),
    (5, "out of use means neither lent nor promised", _copies(
        Copy.status.in_(_OUT_OF_USE), or_(_is_lent, _is_promised)
    )),
    (5, "a removed copy is neither lent nor promised", _copies(
        Copy.deleted_at.is_not(None), or_(_is_lent, _is_promised)
    )),
    (5, "a copy's loan and promise are of its own book", _copies(
        or_(
            exists().where(_lent_out(), Loan.book_id != Copy.book_id),
            exists().where(_promised_to(), Booking.book_id != Copy.book_id),
        )
    )),
    (
        7,
        "every booking has the event of its placing",
        select(cast(Booking.id, String)).where(
            ~exists().where(Event.booking_id == Booking.id, Event.kind == literal("booking_placed"))
        ),
    ),
    (
        7,
        "every loan has the event of its opening",
        select(cast(Loan.id, String)).where(
            ~exists().where(Event.loan_id == Loan.id, Event.kind == literal("loan_opened"))
        ),
    ),
)  # fmt: skip


async def _waiting_beside_free(session: AsyncSession, rules: Rulebook) -> AsyncIterator[Violation]:
    statement = select(Copy).where(
        Copy.status == CopyStatus.AVAILABLE,
        Copy.deleted_at.is_(None),
        exists().where(Booking.book_id == Copy.book_id, Booking.status == BookingStatus.WAITING),
    )
    for copy in await session.scalars(statement.limit(SHOWN)):
        borrowers = rules.borrowers(item_type=copy.item_type, branch=copy.branch_id)
        booking = await booking_queries.first_waiting(session, book_id=copy.book_id, borrowers=borrowers)
        if booking is not None:
            yield Violation(14, "no reader waits while a copy that he may take is available", f"{booking.id}")
