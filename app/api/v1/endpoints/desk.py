"""The desk over HTTP: what to fetch, what waits, other statuses, wrong scans taken back, doubles merged."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.api.circulation import BranchRequired, Circulation, desk_branch
from app.api.deps import CatalogueEditor, CopyEditor, CurrentSettings, DeskStaff, Reading, RowId, Writing
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.api.responses import next_link
from app.auth import service as auth
from app.bookings import queries
from app.bookings.schemas import ShelfPage, ShelfRow
from app.books import queries as book_queries
from app.books import service as books
from app.branches import service as branches
from app.copies import service as copies
from app.copies.schemas import CopyRead
from app.core.errors import AppError, Forbidden, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.versioning import etag
from app.loans import service as loans
from app.loans.schemas import Merge, StatusChange, Undo, UndoRead

router = APIRouter(tags=["desk"], route_class=IdempotentRoute)

_LIST: tuple[type[AppError], ...] = (
    Unauthorized, Forbidden, branches.UnknownBranch, BranchRequired, InvalidCursor, StaleCursor
)  # fmt: skip
Branch = Annotated[str | None, Query(max_length=32)]
PageCursor = Annotated[str | None, Query(max_length=1_024)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


@router.get("/desk/pull-list", responses=problems(*_LIST))
async def pull_list(
    request: Request,
    session: Reading,
    who: DeskStaff,
    response: Response,
    branch: Branch = None,
    cursor: PageCursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> ShelfPage:
    """Copies of this branch that are promised and still stand on the shelf, in shelf order: fetch and scan them."""
    branch_id = await desk_branch(session, who, branch)
    rows, following = await queries.to_pull(session, branch_id=branch_id, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return await shelf_page(session, rows, following)


@router.get("/desk/hold-shelf", responses=problems(*_LIST))
async def hold_shelf(
    request: Request,
    session: Reading,
    who: DeskStaff,
    response: Response,
    branch: Branch = None,
    cursor: PageCursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> ShelfPage:
    """What waits on this branch's hold shelf, for whom and until when."""
    branch_id = await desk_branch(session, who, branch)
    rows, following = await queries.on_hold_shelf(session, branch_id=branch_id, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return await shelf_page(session, rows, following)


@router.post(
    "/desk/undo",
    responses=problems(Unauthorized, Forbidden, loans.ScanNotFound, loans.ScanTooOld, loans.ScanOvertaken),
)
async def undo_scan(
    data: Undo, session: Writing, who: DeskStaff, context: Circulation, settings: CurrentSettings
) -> UndoRead:
    """Take back a wrong scan within ten minutes, if nothing else has happened to the copy since."""
    del who
    scan = await loans.undo(session, scan_id=data.scan_id, context=context)
    copy = await copies.get(session, copy_id=scan.copy_id)
    return UndoRead(
        scan_id=scan.id,
        undone_at=scan.undone_at or context.now,
        item=copies.read(copy, currency=settings.currency),
    )


@router.post(
    "/copies/{copy_id}/status",
    tags=["copies"],
    responses=problems(
        Unauthorized, Forbidden, auth.NotYourBranch, copies.CopyNotFound, copies.CopyGone, loans.StatusNotAllowed
    ),
)
async def change_copy_status(
    copy_id: RowId,
    data: StatusChange,
    session: Writing,
    who: CopyEditor,
    context: Circulation,
    settings: CurrentSettings,
    response: Response,
) -> CopyRead:
    """Set a copy aside (in repair, missing, withdrawn) or bring it back; whoever it was promised to gets another."""
    await auth.check_branch(session, identity=who, branch_id=(await copies.get(session, copy_id=copy_id)).branch_id)
    copy = await loans.restate(session, copy_id=copy_id, status=data.wanted, reason=data.reason, context=context)
    response.headers["ETag"] = etag(copy.version)
    return copies.read(copy, currency=settings.currency)


@router.post(
    "/books/{book_id}/merge",
    tags=["books"],
    status_code=204,
    responses=problems(Unauthorized, Forbidden, books.BookNotFound, books.BookGone, books.MergeIntoItself),
)
async def merge_books(
    book_id: RowId, data: Merge, session: Writing, who: CatalogueEditor, context: Circulation
) -> None:
    """Merge this book into another: copies, queue and loans move; this address leads there from now on."""
    del who
    await loans.merge(session, source_id=book_id, target_id=data.into, context=context)


async def shelf_page(session: Reading, rows: list[Any], following: str | None) -> ShelfPage:
    titles = await book_queries.titles(session, {booking.book_id for _, booking, _ in rows})
    items = [
        ShelfRow(
            booking_id=booking.id,
            copy_id=copy.id,
            barcode=copy.barcode,
            call_number=copy.call_number,
            shelf_location=copy.shelf_location,
            book_id=booking.book_id,
            title=titles[booking.book_id],
            pickup_branch=booking.pickup_branch_id,
            card_number=card_number,
            pickup_until=booking.pickup_until,
        )
        for copy, booking, card_number in rows
    ]
    return ShelfPage(items=items, next=following)
