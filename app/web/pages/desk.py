"""The desk: one field that takes every scan, undo, slips; and where this desk stands."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import BranchRequired, desk_branch, read_loans
from app.api.deps import DeskStaff
from app.bookings import queries as booking_queries
from app.charges import service as charges
from app.copies import service as copies
from app.core.errors import AppError, NotFound
from app.core.schemas import Money
from app.loans import queries as loan_queries
from app.loans import service as loans
from app.loans.models import LoanStatus
from app.users import queries as user_queries
from app.web import desk
from app.web.catalogue import MANY, branch_names
from app.web.desk import Scan, Verdict
from app.web.once import DoneAlready
from app.web.page import HEADERS, Page, View, environment
from app.web.pages.own import books_of

router = APIRouter()

BRANCH_COOKIE = "desk"


@router.get("/desk")
async def show(page: Page, who: DeskStaff, card: Annotated[str, Query(max_length=32)] = "") -> Response:
    """The desk, empty, or with a reader."""
    del who
    verdict = Verdict("plain", "", card=card)
    async with page.database.reading() as session:
        return page.show("desk.html", **await _facts(session, page, verdict), idle=not card)


async def here(session: AsyncSession, page: View) -> str:
    """The branch at which this desk stands: the one chosen on this device, the librarian's own, or the only one."""
    try:
        return await desk_branch(session, page.me, page.request.cookies.get(BRANCH_COOKIE))
    except AppError:
        return await desk_branch(session, page.me, None)


@router.post("/desk/branch")
async def choose_branch(page: Page, who: DeskStaff) -> Response:
    """Say where this desk stands."""
    del who
    response = page.go("/desk")
    page.keep_cookie(response, BRANCH_COOKIE, page.text("branch")[:32])
    return response


@router.post("/desk/scans")
async def scan(page: Page, who: DeskStaff) -> Response:
    """Judge one scan; the same scan sent again has no second effect and gets the same answer."""
    del who
    came = Scan(page.text("code")[:64], page.text("card"), page.text("mode") == "returns", page.text("answer"), "")
    try:
        async with page.changing() as session:
            came = Scan(came.code, came.card, came.is_locked, came.answer, await here(session, page))
            verdict = await desk.judge(session, page, came)
            await session.flush()
            facts = await _facts(session, page, verdict)
            page.answered = _fragment(page, facts)
    except DoneAlready as done:
        return HTMLResponse(done.answer.body.decode(), headers={**HEADERS, "Repeated": "true"})
    except AppError as error:
        async with page.database.reading() as session:
            facts = await _facts(session, page, await desk.refused(session, page, came, error))
    return _answer(page, facts)


@router.post("/desk/undo")
async def undo(page: Page, who: DeskStaff) -> Response:
    """Take the last scan back."""
    del who
    say = page.words.say
    try:
        scan_id = UUID(page.text("scan_id"))
    except ValueError:
        scan_id = UUID(int=0)
    try:
        async with page.database.transaction() as session:
            undone = await loans.undo(session, scan_id=scan_id, context=await page.context(session))
            copy = await copies.get(session, copy_id=undone.copy_id)
            title = await desk.title_of(session, copy)
            verdict = Verdict("undone", str(say("Undone")), title, card=page.text("card"), scan_id=str(undone.id))
    except AppError as error:
        verdict = Verdict("stop", str(say("Not undone")), page.words.refusal(error), card=page.text("card"))
    async with page.database.reading() as session:
        return _answer(page, await _facts(session, page, verdict))


def _answer(page: View, facts: dict[str, Any]) -> Response:
    return page.show("desk_answer.html" if page.is_fragment else "desk.html", **facts, idle=False)


def _fragment(page: View, facts: dict[str, Any]) -> str:
    template = environment().get_template("desk_answer.html")
    return str(Markup(template.render(page=page, path="/desk", idle=False, **page.helpers, **facts)))  # noqa: S704  # a template's


async def _facts(session: AsyncSession, page: View, verdict: Verdict) -> dict[str, Any]:
    names = await branch_names(session)
    try:
        branch = await here(session, page)
    except BranchRequired:
        branch = ""
    reader = await user_queries.by_card(session, verdict.card) if verdict.card else None
    facts: dict[str, Any] = {"verdict": verdict, "reader": reader, "branches": names, "branch": branch}
    if reader is not None:
        owed = await charges.balance(session, subject=reader.pseudonym)
        rules = (await page.context(session)).rules
        terms = rules.terms(category=reader.category, item_type="book", branch=branch or next(iter(names), ""))
        facts |= await books_of(session, page, reader.id)
        facts |= {"owed": Money(amount_minor=owed, currency=page.settings.currency), "terms": terms}
    return facts


@router.get("/desk/slip")
async def slip(
    page: Page, who: DeskStaff, card: Annotated[str, Query(max_length=32)] = "", booking: UUID | None = None
) -> Response:
    """A slip to print: what a reader has, or what stands on the hold shelf for whom."""
    del who
    async with page.database.reading() as session:
        if booking is not None:
            kept = await booking_queries.find(session, booking)
            reader = await user_queries.find(session, kept.reader_id) if kept and kept.reader_id else None
            return page.show("slip_hold.html", booking=kept, reader=reader, initials=desk.initials)
        reader = await user_queries.by_card(session, card)
        if reader is None:
            raise NotFound
        found, _ = await loan_queries.page(
            session, reader_id=reader.id, status=LoanStatus.OPEN, cursor=None, limit=MANY
        )
        lent = await read_loans(session, found, now=page.now)
    return page.show("slip_loans.html", reader=reader, loans=lent, initials=desk.initials)
