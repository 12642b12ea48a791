"""Loans and returns over HTTP."""

from uuid import UUID

from fastapi import APIRouter, Response, status

from app.api.circulation import BranchRequired, Circulation, desk_branch, read_bookings, read_loan, read_loans
from app.api.deps import CurrentSettings, DeskStaff, Now, Reading, SignedIn, Writing
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.auth.permissions import Permission
from app.auth.service import Identity
from app.bookings import service as bookings
from app.books import service as books
from app.branches import service as branches
from app.copies import service as copies
from app.core.errors import AppError, Forbidden, Unauthorized
from app.core.schemas import Money
from app.loans import queries
from app.loans import service as loans
from app.loans.schemas import LoanCreate, LoanRead, LostRead, ReturnCreate, ReturnRead
from app.loans.service import Override
from app.users import queries as user_queries

router = APIRouter(tags=["loans"], route_class=IdempotentRoute)

_DESK: tuple[type[AppError], ...] = (Unauthorized, Forbidden, branches.UnknownBranch, BranchRequired)
_OPEN: tuple[type[AppError], ...] = (Unauthorized, loans.LoanNotFound, loans.LoanClosed)
_RULES: tuple[type[AppError], ...] = (bookings.CardExpired, bookings.ReaderBlocked)


@router.post(
    "/loans",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *_DESK, *_RULES, bookings.ReaderNotFound, copies.CopyNotFound, books.BookGone, bookings.NotForLoan,
        loans.LoanLimitReached, loans.CopyOnLoan, loans.AlreadyOnLoan, loans.PromisedToAnother,
        loans.CopyNotLendable, loans.UnknownRule,
    ),
)  # fmt: skip
async def create_loan(
    data: LoanCreate, session: Writing, who: DeskStaff, context: Circulation, response: Response
) -> LoanRead:
    """Check out: lend the copy with this barcode to the reader with this card."""
    override = None
    if data.override is not None:
        if not who.may(Permission.OVERRIDE_RULES):
            raise Forbidden
        override = Override(frozenset(data.override.rules), data.override.reason)
    lent = await loans.lend(
        session,
        barcode=data.copy_barcode,
        card_number=data.card_number,
        branch_id=await desk_branch(session, who, data.branch),
        override=override,
        context=context,
    )
    response.headers["Location"] = f"loans/{lent.loan.id}"
    return read_loan(lent.loan, title=lent.title, barcode=lent.copy.barcode, now=context.now, scan_id=lent.scan_id)


@router.post(
    "/returns",
    responses=problems(*_DESK, copies.CopyNotFound, books.BookGone, loans.CopyOutOfUse, loans.ScanAgain),
)
async def create_return(
    data: ReturnCreate, session: Writing, who: DeskStaff, context: Circulation, settings: CurrentSettings
) -> ReturnRead:
    """Check in: take back the copy with this barcode and say what to do with it. Scanning twice changes nothing."""
    returned = await loans.give_back(
        session,
        barcode=data.copy_barcode,
        branch_id=await desk_branch(session, who, data.branch),
        context=context,
    )
    booking = returned.booking
    reader_id = booking.reader_id if booking else None
    reader = await user_queries.find(session, reader_id) if reader_id else None
    read = None
    if returned.loan and returned.title:
        read = read_loan(returned.loan, title=returned.title, barcode=data.copy_barcode, now=context.now)
    elif returned.loan:
        [read] = await read_loans(session, [returned.loan], now=context.now)
    return ReturnRead(
        action=returned.action,
        item=copies.read(returned.copy, currency=settings.currency),
        booking=(await read_bookings(session, [booking]))[0] if booking else None,
        for_card=reader.card_number if reader else None,
        to_branch=returned.to_branch,
        loan=read,
        charged=Money(amount_minor=returned.charged_minor, currency=settings.currency),
        scan_id=returned.scan_id,
    )


@router.get("/loans/{loan_id}", responses=problems(Unauthorized, loans.LoanNotFound))
async def get_loan(loan_id: UUID, session: Reading, who: SignedIn, now: Now) -> LoanRead:
    """One loan of one's own, or any for staff."""
    loan = await queries.find(session, loan_id)
    if loan is None or not _owned_by(who)(loan):
        raise loans.LoanNotFound
    return (await read_loans(session, [loan], now=now))[0]


@router.post(
    "/loans/{loan_id}/renew",
    responses=problems(*_OPEN, *_RULES, loans.NoRenewalsLeft, loans.LoanRecalled, loans.OthersWaiting),
)
async def renew_loan(loan_id: UUID, session: Writing, who: SignedIn, context: Circulation) -> LoanRead:
    """Prolong a loan, unless others wait or the limit is reached."""
    loan = await loans.renew(session, loan_id=loan_id, is_mine=_owned_by(who), context=context)
    return (await read_loans(session, [loan], now=context.now))[0]


@router.post("/loans/{loan_id}/lost", responses=problems(*_OPEN, Forbidden))
async def lose_loan(
    loan_id: UUID, session: Writing, who: DeskStaff, context: Circulation, settings: CurrentSettings
) -> LostRead:
    """Close a loan as lost; the copy's price and the policy's fee are charged."""
    loan, charged = await loans.mark_lost(session, loan_id=loan_id, is_mine=_owned_by(who), context=context)
    read = (await read_loans(session, [loan], now=context.now))[0]
    return LostRead(loan=read, charged=Money(amount_minor=charged, currency=settings.currency))


@router.post("/loans/{loan_id}/claim-returned", responses=problems(*_OPEN))
async def claim_loan_returned(loan_id: UUID, session: Writing, who: SignedIn, context: Circulation) -> LoanRead:
    """Note that the reader says he brought it back; staff will look on the shelf."""
    loan = await loans.claim_returned(session, loan_id=loan_id, is_mine=_owned_by(who), context=context)
    return (await read_loans(session, [loan], now=context.now))[0]


def _owned_by(who: Identity) -> loans.Owner:
    return lambda loan: who.may(Permission.USE_DESK) or loan.reader_id == who.user_id
