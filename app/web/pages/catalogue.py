"""The catalogue and a book, for everybody; booking it, for readers."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import pickup_branch
from app.api.deps import SignedIn
from app.api.v1.endpoints.bookings import place
from app.api.v1.endpoints.books import conditions, facets_of
from app.bookings.schemas import BookingCreate
from app.books import paging, queries
from app.books import service as books
from app.books.schemas import BookQuery
from app.branches import service as branch_service
from app.copies import queries as copy_queries
from app.core.errors import AppError
from app.core.pagination import MAX_ID
from app.web import forms
from app.web.catalogue import branch_names, shown
from app.web.forms import Mistakes
from app.web.page import Page, View

router = APIRouter()

BookId = Annotated[int, Path(ge=1, le=MAX_ID)]
FILTERS: Final = ("available", "branch", "language", "author", "subject", "year_from", "year_to")


@router.get("/")
async def catalogue(page: Page) -> Response:
    """Find books: the newest without a question; the best with one."""
    asked = {name: value for name, value in page.request.query_params.items() if name in BookQuery.model_fields}
    try:
        query = forms.read(BookQuery, asked, page.words)
    except Mistakes as mistakes:
        return await _results(page, BookQuery(), asked, mistakes=mistakes.errors)
    return await _results(page, query, asked)


async def _results(
    page: View, query: BookQuery, asked: dict[str, Any], mistakes: dict[str, str] | None = None
) -> Response:
    facts: dict[str, Any] = {"query": query, "asked": asked, "errors": mistakes or {}, "problem": None}
    async with page.database.reading() as session:
        try:
            where = conditions(query, page.who)
            found = await queries.page(session, query, where=where)
            facts |= {"found": found, "rows": await shown(session, page, found.rows)}
            ids = await queries.found_ids(session, query, where=where) if found.ranked is None else found.ranked
            facts["facets"] = await facets_of(session, ids)
        except queries.NothingToSearch:
            facts |= {"found": paging.Page([], None), "rows": [], "facets": None}
        facts["branches"] = await branch_names(session)
    facts["filters"] = [name for name in FILTERS if asked.get(name)]
    facts["without"] = _without(page, asked)
    template = "results.html" if page.is_fragment else "catalogue.html"
    return page.share(page.show(template, 422 if mistakes else 200, **facts))


def _without(page: View, asked: dict[str, Any]) -> dict[str, str]:
    """The address of the same question without one of its parts."""
    url = page.request.url.remove_query_params("cursor")
    return {name: f"/?{url.remove_query_params(name).query}" for name in (*asked, "cursor")}


@router.get("/suggest")
async def suggest(page: Page, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Titles whose words begin with what was typed so far."""
    async with page.database.reading() as session:
        found = await queries.suggest(session, q) if q.strip() else []
    return page.share(page.show("suggestions.html", found=found))


@router.get("/books/{book_id}")
async def book(page: Page, book_id: BookId) -> Response:
    """A book: what it is, where it is, and how to get it."""
    return await _show(page, book_id)


@router.get("/books/{book_id}/status")
async def status(page: Page, book_id: BookId) -> Response:
    """The part of a book's page that changes while one looks."""
    return await _show(page, book_id, template="book_status.html")


@router.post("/books/{book_id}/bookings")
async def book_a_copy(page: Page, who: SignedIn, book_id: BookId) -> Response:
    """Book any copy of the book, to be collected at the branch chosen."""
    branch = page.text("pickup_branch")
    try:
        data = forms.read(BookingCreate, {"book_id": book_id, "pickup_branch": branch}, page.words)
        async with page.changing() as session:
            await place(session, data, who, await page.context(session))
            return page.go(f"/books/{book_id}", "booked")
    except (books.BookNotFound, books.BookGone, books.BookMerged):
        raise
    except Mistakes:
        return await _show(page, book_id, error=branch_service.UnknownBranch(branch=branch[:32]))
    except AppError as error:
        return await _show(page, book_id, error=error)


async def _show(page: View, book_id: int, *, template: str = "book.html", error: AppError | None = None) -> Response:
    async with page.database.reading() as session:
        row = await books.get(session, book_id=book_id, with_suppressed=bool(page.who and page.who.is_staff))
        one = (await shown(session, page, [row]))[0]
        facts = {
            "one": one,
            "copies": (await copy_queries.of_books(session, [book_id])).get(book_id, []),
            "branches": await branch_names(session),
            "pickup": await _usual_branch(session, page),
            "problem": page.words.refusal(error) if error else None,
        }
    return page.share(page.show(template, error.status if error else 200, errors={}, **facts))


async def _usual_branch(session: AsyncSession, page: View) -> str:
    if page.who is None:
        return ""
    try:
        return await pickup_branch(session, page.who.user_id, None)
    except AppError:  # several branches, and none of them his
        return ""
