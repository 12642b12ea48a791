"""Books: the catalogue over HTTP."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import Field
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import Circulation, live_counts
from app.api.deps import (
    Catalogue,
    CatalogueEditor,
    CopyEditor,
    CurrentSettings,
    Now,
    Reading,
    RequiredIfMatch,
    RowId,
    Who,
    Writing,
)
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.api.responses import SURROGATE_KEY, next_link, page_json, tagged, versioned
from app.api.v1.endpoints.copies import branch_for
from app.auth.service import Identity
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.books import queries
from app.books import service as books
from app.books.paging import Page
from app.books.schemas import (
    Availability,
    BookCreate,
    BookFacets,
    BookPage,
    BookQuery,
    BookRead,
    BookUpdate,
    Facet,
    Suggestion,
    Suggestions,
)
from app.branches import service as branches
from app.copies import queries as copy_queries
from app.copies import service as copies
from app.copies.schemas import CopyCreate, CopyPage, CopyRead
from app.core import metrics
from app.core.errors import AppError, Forbidden, PreconditionRequired, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.versioning import VersionChanged, etag

router = APIRouter(prefix="/books", tags=["books"], route_class=IdempotentRoute)

_MISSING: tuple[type[AppError], ...] = (books.BookNotFound, books.BookGone)
_STAFF: tuple[type[AppError], ...] = (Unauthorized, Forbidden)
_CHANGE: tuple[type[AppError], ...] = (*_STAFF, *_MISSING, PreconditionRequired, VersionChanged)


@router.get(
    "",
    response_model=BookPage,
    responses=problems(InvalidCursor, StaleCursor, queries.NothingToSearch, *_STAFF),
)
async def list_books(
    request: Request, session: Reading, read: Catalogue, who: Who, query: Annotated[BookQuery, Query()]
) -> Response:
    """Find books: with `q` the best first, else the newest, unless `sort` says otherwise.

    Suppressed ones are for librarians only.
    """
    where = conditions(query, who)
    if query.include is None and not where:
        page = await read(partial(queries.page, query=query))
        items = [row.json() for row in page.rows]
    else:
        page = await queries.page(session, query, where=where)
        items = await _with_counts(session, page) if query.include else [row.json() for row in page.rows]
    if query.q:
        metrics.searches_total.inc()
    response = tagged(request, page_json(page, items))
    response.headers.update(next_link(request, page.next))
    response.headers[SURROGATE_KEY] = "catalogue"
    if query.include or where:
        response.headers["Cache-Control"] = "no-store"
    return response


async def _with_counts(session: AsyncSession, page: Page) -> list[str]:
    counts = await live_counts(session, [row.id for row in page.rows]) if page.rows else {}
    return [row.json(availability=counts[row.id].model_dump_json()) for row in page.rows]


def conditions(query: BookQuery, who: Identity | None) -> list[ColumnElement[bool]]:
    """What the query asks of copies, after a look at whether it may be asked at all."""
    if query.suppressed is not None and not (who and who.is_staff):
        raise Forbidden if who else Unauthorized
    where = []
    if query.available is not None:
        on_shelf = copy_queries.has_available(branch_id=query.branch)
        where.append(on_shelf if query.available else ~on_shelf)
    if query.branch is not None and not query.available:
        where.append(copy_queries.has_any(branch_id=query.branch))
    return where


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(*_STAFF))
async def create_book(
    data: BookCreate, session: Writing, who: CatalogueEditor, response: Response, now: Now
) -> BookRead:
    """Add a book to the catalogue."""
    del who
    book = await books.add(session, data=data, now=now)
    response.headers["Location"] = f"books/{book.id}"
    response.headers["ETag"] = etag(book.version)
    return book


@router.get("/suggest")
async def suggest_books(read: Catalogue, q: Annotated[str, Query(min_length=1, max_length=200)]) -> Suggestions:
    """Up to ten titles whose words begin with what was typed so far."""
    found = await read(partial(queries.suggest, typed=q))
    return Suggestions(items=[Suggestion(id=book_id, title=title) for book_id, title in found])


@router.get("/facets", responses=problems(queries.NothingToSearch, *_STAFF))
async def book_facets(
    session: Reading, who: Who, response: Response, query: Annotated[BookQuery, Query()]
) -> BookFacets:
    """What the books found have in common, to narrow the search by; of at most 1,000 of them."""
    response.headers["Cache-Control"] = "no-store"
    return await facets_of(session, await queries.found_ids(session, query, where=conditions(query, who)))


async def facets_of(session: AsyncSession, ids: Sequence[int]) -> BookFacets:
    """What these books have in common."""
    common = await queries.facets(session, ids)
    by_branch = await copy_queries.by_branch(session, ids)
    names = {branch.id: branch.name for branch in await branches.all_open(session)}
    return BookFacets(
        count=len(ids),
        is_capped=len(ids) >= queries.MAX_COUNTED,
        branch=[Facet(value=branch, label=names.get(branch, branch), count=n) for branch, n in by_branch],
        available=await copy_queries.count_available(session, ids),
        **common,
    )


@router.get("/{book_id}", response_model=BookRead, responses=problems(*_MISSING))
async def get_book(request: Request, book_id: RowId, read: Catalogue, who: Who) -> Response:
    """One book; its ETag is its version."""
    row = await read(partial(books.get, book_id=book_id, with_suppressed=bool(who and who.is_staff)))
    response = versioned(request, row.json(), row.version)
    response.headers[SURROGATE_KEY] = f"catalogue book-{book_id}"
    return response


@router.put("/{book_id}", responses=problems(*_CHANGE))
async def replace_book(
    book_id: RowId,
    data: BookCreate,
    session: Writing,
    who: CatalogueEditor,
    if_match: RequiredIfMatch,
    response: Response,
    now: Now,
) -> BookRead:
    """Replace everything bibliographic; what is not sent becomes empty."""
    del who
    book = await books.change(session, book_id=book_id, changes=data.model_dump(), if_match=if_match, now=now)
    response.headers["ETag"] = etag(book.version)
    return book


@router.patch("/{book_id}", responses=problems(*_CHANGE))
async def update_book(
    book_id: RowId,
    data: BookUpdate,
    session: Writing,
    who: CatalogueEditor,
    if_match: RequiredIfMatch,
    response: Response,
    now: Now,
) -> BookRead:
    """Change the fields that are sent."""
    del who
    changes = data.model_dump(exclude_unset=True)
    book = await books.change(session, book_id=book_id, changes=changes, if_match=if_match, now=now)
    response.headers["ETag"] = etag(book.version)
    return book


@router.delete("/{book_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(*_CHANGE, books.BookInUse))
async def delete_book(
    book_id: RowId, session: Writing, who: CatalogueEditor, if_match: RequiredIfMatch, now: Now
) -> None:
    """Remove a book that has no copies; it answers 410 afterwards and can be restored for 30 days."""
    del who
    await books.hold(session, book_id=book_id)
    in_use = ["copies"] if await copy_queries.any_of(session, book_id=book_id) else []
    in_use += ["open bookings"] if await booking_queries.open_of_books(session, [book_id]) else []
    await books.remove(session, book_id=book_id, if_match=if_match, in_use=in_use, now=now)


@router.post("/{book_id}/restore", responses=problems(*_STAFF, books.BookNotFound, books.UndoTooLate))
async def restore_book(
    book_id: RowId, session: Writing, who: CatalogueEditor, response: Response, now: Now
) -> BookRead:
    """Undo a removal."""
    del who
    book = await books.restore(session, book_id=book_id, now=now)
    response.headers["ETag"] = etag(book.version)
    return book


@router.get("/{book_id}/availability", responses=problems(*_MISSING))
async def book_availability(book_id: RowId, session: Reading, who: Who, response: Response) -> Availability:
    """Live counts: copies, copies on the shelf, readers waiting. Never cached."""
    await books.get(session, book_id=book_id, with_suppressed=bool(who and who.is_staff))
    response.headers["Cache-Control"] = "no-store"
    return (await live_counts(session, [book_id]))[book_id]


@router.get("/{book_id}/copies", responses=problems(*_MISSING, InvalidCursor, StaleCursor))
async def list_book_copies(
    book_id: RowId,
    request: Request,
    session: Reading,
    who: Who,
    settings: CurrentSettings,
    response: Response,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> CopyPage:
    """The book's copies and where they are."""
    await books.get(session, book_id=book_id, with_suppressed=bool(who and who.is_staff))
    found, following = await copy_queries.page(session, book_id=book_id, barcode=None, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return CopyPage(items=[copies.read(copy, currency=settings.currency) for copy in found], next=following)


@router.post(
    "/{book_id}/copies",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*_STAFF, *_MISSING, copies.BarcodeTaken, branches.UnknownBranch),
)
async def create_copy(
    book_id: RowId,
    data: CopyCreate,
    session: Writing,
    who: CopyEditor,
    settings: CurrentSettings,
    context: Circulation,
    response: Response,
) -> CopyRead:
    """Add a copy; without `branch` it goes to the librarian's own, or the oldest."""
    branch_id = await branch_for(session, who, data.branch)
    copy = await copies.add(session, book_id=book_id, data=data, branch_id=branch_id, now=context.now)
    await bookings.settle(session, book_id=book_id, context=context)
    response.headers["Location"] = f"{settings.api_v1_str}/copies/{copy.id}"
    response.headers["ETag"] = etag(copy.version)
    return copies.read(copy, currency=settings.currency)
