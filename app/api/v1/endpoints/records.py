"""A reader's record over HTTP: his loans and bookings, for himself and for the staff, whose looks he can see."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.api.circulation import read_bookings, read_loans
from app.api.deps import Now, ReaderViewer, Reading, SignedIn, Writing
from app.api.errors import problems
from app.api.responses import next_link
from app.api.v1.endpoints.users import look
from app.audit import queries as audit_queries
from app.audit.schemas import ViewPage, ViewRead
from app.bookings import queries as booking_queries
from app.bookings.schemas import BookingPage, StatusFilter
from app.core.errors import AppError, Forbidden, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.loans import queries as loan_queries
from app.loans.models import LoanStatus
from app.loans.schemas import LoanPage
from app.users import queries as user_queries
from app.users import service as users

router = APIRouter(tags=["records"])

_OWN: tuple[type[AppError], ...] = (Unauthorized, InvalidCursor, StaleCursor)
_STAFF: tuple[type[AppError], ...] = (*_OWN, Forbidden, users.UserNotFound)
CursorText = Annotated[str | None, Query(max_length=1_024)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


@router.get("/auth/me/loans", responses=problems(*_OWN))
async def list_my_loans(
    request: Request,
    session: Reading,
    who: SignedIn,
    response: Response,
    now: Now,
    status: LoanStatus | None = None,
    cursor: CursorText = None,
    limit: Limit = DEFAULT_LIMIT,
) -> LoanPage:
    """My loans, the newest first; returned ones only as long as I keep them."""
    found, following = await loan_queries.page(
        session, reader_id=who.user_id, status=status, cursor=cursor, limit=limit
    )
    response.headers.update(next_link(request, following))
    return LoanPage(items=await read_loans(session, found, now=now), next=following)


@router.get("/auth/me/bookings", responses=problems(*_OWN))
async def list_my_bookings(
    request: Request,
    session: Reading,
    who: SignedIn,
    response: Response,
    status: StatusFilter | None = None,
    cursor: CursorText = None,
    limit: Limit = DEFAULT_LIMIT,
) -> BookingPage:
    """My bookings, the newest first, with place and expectation where they wait."""
    found, following = await booking_queries.page(
        session, reader_id=who.user_id, status=status, cursor=cursor, limit=limit
    )
    response.headers.update(next_link(request, following))
    return BookingPage(items=await read_bookings(session, found), next=following)


@router.get("/auth/me/views", responses=problems(*_OWN))
async def list_my_views(
    request: Request,
    session: Reading,
    who: SignedIn,
    response: Response,
    cursor: CursorText = None,
    limit: Limit = DEFAULT_LIMIT,
) -> ViewPage:
    """Who of the staff looked at my record, the newest first."""
    found, following = await audit_queries.views_of(session, subject=who.pseudonym, cursor=cursor, limit=limit)
    names = await user_queries.names(session, [entry.actor for entry in found if entry.actor])
    response.headers.update(next_link(request, following))
    items = [
        ViewRead(
            seen_at=entry.happened_at,
            what=str(entry.data.get("what", "")),
            by=names.get(entry.actor) if entry.actor else None,
            role=entry.actor_role,
        )
        for entry in found
    ]
    return ViewPage(items=items, next=following)


@router.get("/users/{user_id}/loans", responses=problems(*_STAFF))
async def list_loans_of_user(
    request: Request,
    user_id: UUID,
    session: Writing,
    who: ReaderViewer,
    response: Response,
    now: Now,
    status: LoanStatus | None = None,
    cursor: CursorText = None,
    limit: Limit = DEFAULT_LIMIT,
) -> LoanPage:
    """A reader's loans; he can see who looked."""
    await look(session, user_id, who, "loans", now)
    found, following = await loan_queries.page(session, reader_id=user_id, status=status, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return LoanPage(items=await read_loans(session, found, now=now), next=following)


@router.get("/users/{user_id}/bookings", responses=problems(*_STAFF))
async def list_bookings_of_user(
    request: Request,
    user_id: UUID,
    session: Writing,
    who: ReaderViewer,
    response: Response,
    now: Now,
    status: StatusFilter | None = None,
    cursor: CursorText = None,
    limit: Limit = DEFAULT_LIMIT,
) -> BookingPage:
    """A reader's bookings; he can see who looked."""
    await look(session, user_id, who, "bookings", now)
    found, following = await booking_queries.page(session, reader_id=user_id, status=status, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return BookingPage(items=await read_bookings(session, found), next=following)
