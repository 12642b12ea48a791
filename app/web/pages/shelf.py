"""The pull list (what to fetch from the shelves) and the hold shelf (what waits for whom)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.api.circulation import BranchRequired
from app.api.deps import CopyEditor, DeskStaff, RowId
from app.api.v1.endpoints.desk import shelf_page
from app.auth import service as auth
from app.bookings import queries
from app.copies import service as copies
from app.copies.statuses import CopyStatus
from app.core.errors import AppError
from app.loans import service as loans
from app.web import desk
from app.web.catalogue import branch_names
from app.web.desk import Scan
from app.web.page import Page, View
from app.web.pages.desk import here

router = APIRouter()

Cursor = Annotated[str | None, Query(max_length=1_024)]
ROWS = 50


@router.get("/pull-list")
async def pull_list(page: Page, who: DeskStaff, cursor: Cursor = None) -> Response:
    """Copies that are promised and still stand on the shelf, in the order in which one walks."""
    del who
    return await _show(page, "pull_list.html", cursor)


@router.get("/hold-shelf")
async def hold_shelf(page: Page, who: DeskStaff, cursor: Cursor = None) -> Response:
    """What waits here to be collected, and until when."""
    del who
    return await _show(page, "hold_shelf.html", cursor)


async def _show(page: View, template: str, cursor: str | None = None, *, verdict: Any = None) -> Response:
    async with page.database.reading() as session:
        try:
            branch = await here(session, page)
        except BranchRequired:
            return page.go("/desk", "choose-branch")
        read = queries.to_pull if template == "pull_list.html" else queries.on_hold_shelf
        rows, following = await read(session, branch_id=branch, cursor=cursor, limit=ROWS)
        shelf = await shelf_page(session, rows, following)
        names = await branch_names(session)
    return page.show(template, shelf=shelf, branches=names, branch=branch, verdict=verdict)


@router.post("/pull-list")
async def fetched(page: Page, who: DeskStaff) -> Response:
    """A scan on the walk: the copy was found, and its row goes."""
    del who
    came = Scan(page.text("code")[:64], "", is_locked=True, answer="copy", branch="")
    try:
        async with page.database.transaction() as session:
            came = Scan(came.code, "", came.is_locked, came.answer, await here(session, page))
            verdict = await desk.judge(session, page, came)
    except AppError as error:
        async with page.database.reading() as session:
            verdict = await desk.refused(session, page, came, error)
    return await _show(page, "pull_list.html", verdict=verdict)


@router.post("/pull-list/{copy_id}/missing")
async def not_found(page: Page, who: CopyEditor, copy_id: RowId) -> Response:
    """The copy isn't where it should be: whoever waits gets another."""
    async with page.changing() as session:
        await auth.check_branch(session, identity=who, branch_id=(await copies.get(session, copy_id=copy_id)).branch_id)
        await loans.restate(
            session,
            copy_id=copy_id,
            status=CopyStatus.MISSING,
            reason="not on the shelf",
            context=await page.context(session),
        )
        return page.go("/pull-list", "saved")
