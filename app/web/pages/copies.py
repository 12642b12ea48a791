"""Copies: adding, mending and setting them aside, and labels for their spines."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.api.deps import CopyEditor, RowId
from app.api.v1.endpoints.copies import branch_for, delete_copy, update_copy
from app.auth import service as auth
from app.bookings import service as bookings
from app.books import service as books
from app.copies import queries as copy_queries
from app.copies import service as copies
from app.copies.schemas import CopyCreate, CopyUpdate
from app.copies.statuses import CopyStatus
from app.core.errors import AppError, Unprocessable
from app.core.pagination import MAX_ID
from app.core.versioning import VersionChanged
from app.loans import service as loans
from app.web import forms
from app.web.catalogue import branch_names, read
from app.web.forms import Mistakes
from app.web.page import Page, View

router = APIRouter()

FIELDS = ("barcode", "branch", "call_number", "shelf_location", "item_type", "price_minor", "note")
OPTIONAL = ("call_number", "shelf_location", "price_minor", "note")
LABELS_A_SHEET = 48


@router.get("/cataloguing/{book_id}/copies")
async def of_book(page: Page, who: CopyEditor, book_id: RowId) -> Response:
    """A book's copies, and the form for one more."""
    del who
    return await _list(page, book_id)


@router.post("/cataloguing/{book_id}/copies")
async def add(page: Page, who: CopyEditor, book_id: RowId) -> Response:
    """Add a copy; whoever waits for the book gets it."""
    try:
        data = forms.read(CopyCreate, {name: page.text(name) for name in FIELDS}, page.words)
        async with page.changing() as session:
            branch = await branch_for(session, who, data.branch)
            context = await page.context(session)
            await copies.add(session, book_id=book_id, data=data, branch_id=branch, now=page.now)
            await bookings.settle(session, book_id=book_id, context=context)
            return page.go(f"/cataloguing/{book_id}/copies", "added")
    except Mistakes as mistakes:
        return await _list(page, book_id, errors=mistakes.errors)
    except AppError as error:
        return await _list(page, book_id, error=error)


async def _list(
    page: View, book_id: int, *, errors: dict[str, str] | None = None, error: AppError | None = None
) -> Response:
    async with page.database.reading() as session:
        book = read(await books.get(session, book_id=book_id, with_suppressed=True))
        found = (await copy_queries.of_books(session, [book_id])).get(book_id, [])
        names = await branch_names(session)
    return page.show(
        "copies.html", error.status if error else 422 if errors else 200, book=book, copies=found, branches=names,
        typed=page.typed, errors=errors or {}, problem=page.words.refusal(error) if error else None,
    )  # fmt: skip


@router.get("/copies/{copy_id}")
async def edit(page: Page, who: CopyEditor, copy_id: RowId) -> Response:
    """One copy."""
    del who
    return await _one(page, copy_id)


@router.post("/copies/{copy_id}")
async def save(page: Page, who: CopyEditor, copy_id: RowId) -> Response:
    """Mend it, unless somebody else did so meanwhile."""
    version = page.number("version")
    values = {name: page.text(name) or (None if name in OPTIONAL else "") for name in FIELDS}
    try:
        data = forms.read(CopyUpdate, values, page.words)
        async with page.changing() as session:
            context = await page.context(session)
            copy = await update_copy(
                copy_id, data, session, who, frozenset({version}), page.settings, context, Response()
            )
            return page.go(f"/cataloguing/{copy.book_id}/copies", "saved")
    except Mistakes as mistakes:
        return await _one(page, copy_id, errors=mistakes.errors)
    except AppError as error:
        return await _one(page, copy_id, error=error)


@router.post("/copies/{copy_id}/status")
async def set_aside(page: Page, who: CopyEditor, copy_id: RowId) -> Response:
    """Set a copy aside, or bring it back."""
    try:
        async with page.changing() as session:
            copy = await copies.get(session, copy_id=copy_id)
            await auth.check_branch(session, identity=who, branch_id=copy.branch_id)
            context = await page.context(session)
            wanted, reason = _status(page.text("status")), page.text("reason")[:200] or "at the desk"
            await loans.restate(session, copy_id=copy_id, status=wanted, reason=reason, context=context)
            return page.go(f"/copies/{copy_id}", "saved")
    except AppError as error:
        return await _one(page, copy_id, error=error)


@router.post("/copies/{copy_id}/delete")
async def remove(page: Page, who: CopyEditor, copy_id: RowId) -> Response:
    """Remove a copy that is neither lent nor promised."""
    try:
        async with page.changing() as session:
            copy = await copies.get(session, copy_id=copy_id)
            await delete_copy(copy_id, session, who, frozenset({copy.version}), page.settings, page.now)
            return page.go(f"/cataloguing/{copy.book_id}/copies", "removed")
    except AppError as error:
        return await _one(page, copy_id, error=error)


async def _one(
    page: View, copy_id: int, *, errors: dict[str, str] | None = None, error: AppError | None = None
) -> Response:
    async with page.database.reading() as session:
        copy = await copies.get(session, copy_id=copy_id)
        names = await branch_names(session)
    stored: dict[str, Any] = {name: getattr(copy, "branch_id" if name == "branch" else name) or "" for name in FIELDS}
    # After a clash the form goes on from how the copy stands now, with what was typed.
    version = copy.version if isinstance(error, VersionChanged) or not page.text("version") else page.text("version")
    return page.show(
        "copy.html", error.status if error else 422 if errors else 200, copy=copy, branches=names, version=version,
        typed=stored | page.typed, stored=stored, errors=errors or {},
        problem=page.words.refusal(error) if error else None,
    )  # fmt: skip


@router.get("/labels")
async def labels(
    page: Page,
    who: CopyEditor,
    book: Annotated[int, Query(ge=1, le=MAX_ID)],
    start: Annotated[int, Query(ge=1, le=LABELS_A_SHEET)] = 1,
) -> Response:
    """Spine labels for a book's copies, six by eight on A4, from the first free place of a sheet."""
    del who
    async with page.database.reading() as session:
        title = read(await books.get(session, book_id=book, with_suppressed=True)).title
        found = (await copy_queries.of_books(session, [book])).get(book, [])
    return page.show("labels.html", copies=found[: LABELS_A_SHEET - start + 1], start=start, book=book, title=title)


def _status(word: str) -> CopyStatus:
    """The status that a form names; another word than the form offers is refused."""
    if word not in set(CopyStatus):
        raise Unprocessable
    return CopyStatus(word)
