"""Bookings over HTTP: readers for themselves, staff for readers and for whole classes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import BranchRequired, Circulation, actor_of, has_on_loan, pickup_branch, read_bookings
from app.api.deps import CurrentDatabase, CurrentSettings, DeskStaff, Now, Reading, SignedIn, Writing
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute, digest_of, scope_of
from app.api.responses import next_link
from app.api.v1.endpoints.users import look
from app.auth.permissions import Permission
from app.auth.service import Identity
from app.bookings import queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.bookings.models import Booking
from app.bookings.schemas import (
    BatchItem,
    BatchResult,
    BookingBatch,
    BookingCancel,
    BookingCreate,
    BookingPage,
    BookingRead,
    BookingSuspend,
    StatusFilter,
)
from app.bookings.service import Wish
from app.books import service as books
from app.branches import service as branches
from app.core.errors import AppError, Forbidden, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.idempotency import service as idempotency
from app.idempotency.service import Answer
from app.loans import service as loans
from app.policies import service as policies
from app.users import queries as user_queries
from app.users import service as users

router = APIRouter(prefix="/bookings", tags=["bookings"], route_class=IdempotentRoute)

PLACING: tuple[type[AppError], ...] = (
    Unauthorized, Forbidden, bookings.ReaderNotFound, bookings.CardExpired, bookings.ReaderBlocked,
    books.BookNotFound, books.BookGone, books.BookMerged, branches.UnknownBranch, BranchRequired,
    bookings.AlreadyBooked, bookings.AlreadyBorrowed, bookings.BookingLimitReached, bookings.NotForLoan,
    loans.NothingToRecall,
)  # fmt: skip
_CHANGE: tuple[type[AppError], ...] = (Unauthorized, bookings.BookingNotFound, bookings.BookingClosed)


@router.get("", responses=problems(Unauthorized, Forbidden, users.UserNotFound, InvalidCursor, StaleCursor))
async def list_bookings(
    request: Request,
    session: Writing,
    who: DeskStaff,
    response: Response,
    now: Now,
    status: StatusFilter | None = None,
    reader_id: UUID | None = None,
    branch: Annotated[str | None, Query(max_length=32)] = None,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> BookingPage:
    """Bookings for the staff, the newest first; of one reader (who can see who looked), status or pickup branch."""
    if reader_id is not None:
        await look(session, reader_id, who, "bookings", now)
    found, following = await queries.page(
        session, reader_id=reader_id, status=status, branch_id=branch, cursor=cursor, limit=limit
    )
    response.headers.update(next_link(request, following))
    return BookingPage(items=await read_bookings(session, found), next=following)


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(*PLACING))
async def create_booking(
    data: BookingCreate, session: Writing, who: SignedIn, context: Circulation, response: Response
) -> BookingRead:
    """Book any copy of a book. A copy that is free is promised at once; otherwise `position` says the place in line."""
    booking = await place(session, data, who, context)
    response.headers["Location"] = f"bookings/{booking.id}"
    return (await read_bookings(session, [booking]))[0]


@router.post("/batch", responses=problems(Unauthorized, Forbidden))
async def create_bookings(
    data: BookingBatch, request: Request, who: DeskStaff, settings: CurrentSettings, database: CurrentDatabase, now: Now
) -> BatchResult:
    """Book for many readers at once; each row is judged and answered by itself, whatever becomes of the others.

    With an Idempotency-Key a batch that is sent again goes on where it was cut off and does nothing twice.
    """
    key = request.headers.get("idempotency-key")
    items = []
    for index, row in enumerate(data.items):
        try:
            async with database.transaction() as session:
                context = Context(now, actor_of(who), await policies.rulebook(session), settings.timezone)
                booking = await _place_once(session, row, request, who, context, key=key and f"{key}#{index}")
                read = (await read_bookings(session, [booking]))[0]
            items.append(BatchItem(index=index, status=status.HTTP_201_CREATED, booking=read, code=None, detail=None))
        except AppError as error:
            items.append(BatchItem(index=index, status=error.status, booking=None, code=error.code, detail=str(error)))
    return BatchResult(items=items)


async def _place_once(
    session: AsyncSession, row: BookingCreate, request: Request, who: Identity, context: Context, *, key: str | None
) -> Booking:
    """Place one row's booking, or find the one that the same row of the same batch placed before."""
    if key is None:
        return await place(session, row, who, context)
    scope = scope_of(who, request, key)
    body_digest = digest_of(row.model_dump_json().encode())
    answer = await idempotency.claim(
        session, scope=scope, user_id=who.user_id, body_digest=body_digest, now=context.now
    )
    if answer is not None and (found := await queries.find(session, UUID(answer.body.decode()))):
        return found
    booking = await place(session, row, who, context)
    await idempotency.keep(session, scope=scope, answer=Answer(201, {}, str(booking.id).encode()))
    return booking


async def place(session: AsyncSession, data: BookingCreate, who: Identity, context: Context) -> Booking:
    """Place a booking for who asks, or, by staff, for the reader with a card."""
    reader_id = who.user_id
    if data.card_number is not None or data.recall:
        if not who.may(Permission.USE_DESK):
            raise Forbidden
        if data.card_number is not None:
            holder_id = await user_queries.holder(session, data.card_number)
            if holder_id is None:
                raise bookings.ReaderNotFound
            reader_id = holder_id
    wish = Wish(
        reader_id=reader_id,
        book_id=data.book_id,
        pickup_branch=await pickup_branch(session, reader_id, data.pickup_branch),
    )
    asked = has_on_loan(session, reader_id, data.book_id)
    booking = await bookings.place(session, wish=wish, has_on_loan=asked, context=context)
    if data.recall and booking.copy_id is None:
        await loans.recall(session, book_id=data.book_id, context=context)
    return booking


@router.get("/{booking_id}", responses=problems(Unauthorized, bookings.BookingNotFound))
async def get_booking(booking_id: UUID, session: Reading, who: SignedIn) -> BookingRead:
    """One booking of one's own, or any for staff."""
    booking = await queries.find(session, booking_id)
    if booking is None or not _owned_by(who)(booking):
        raise bookings.BookingNotFound
    return (await read_bookings(session, [booking]))[0]


@router.post("/{booking_id}/cancel", responses=problems(*_CHANGE))
async def cancel_booking(
    booking_id: UUID, session: Writing, who: SignedIn, context: Circulation, data: BookingCancel | None = None
) -> BookingRead:
    """Cancel an open booking; a copy promised to it goes to the next in line."""
    booking = await bookings.cancel(
        session,
        booking_id=booking_id,
        is_mine=_owned_by(who),
        context=context,
        reason=data.reason if data else None,
    )
    return (await read_bookings(session, [booking]))[0]


@router.post("/{booking_id}/suspend", responses=problems(*_CHANGE, bookings.BookingNotWaiting))
async def suspend_booking(
    booking_id: UUID, session: Writing, who: SignedIn, context: Circulation, data: BookingSuspend | None = None
) -> BookingRead:
    """Let others go first until the booking is resumed; the place in line is kept."""
    booking = await bookings.suspend(
        session, booking_id=booking_id, is_mine=_owned_by(who), until=data.until if data else None, context=context
    )
    return (await read_bookings(session, [booking]))[0]


@router.post("/{booking_id}/resume", responses=problems(*_CHANGE, bookings.BookingNotSuspended))
async def resume_booking(booking_id: UUID, session: Writing, who: SignedIn, context: Circulation) -> BookingRead:
    """Wait again, in the old place; a copy that is free meanwhile is promised at once."""
    booking = await bookings.resume(session, booking_id=booking_id, is_mine=_owned_by(who), context=context)
    return (await read_bookings(session, [booking]))[0]


def _owned_by(who: Identity) -> bookings.Owner:
    return lambda booking: who.may(Permission.USE_DESK) or booking.reader_id == who.user_id
