"""A reader's profile, charges, history, who looked at his record, and the calendar of due dates."""

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response

from app.api.circulation import read_loans
from app.api.deps import ConfirmedPerson, SignedIn
from app.api.v1.endpoints.charges import statement_of
from app.api.v1.endpoints.records import list_my_views
from app.auth.permissions import OwnAccount
from app.auth.service import keys
from app.branches import service as branches
from app.core.errors import AppError, NotFound
from app.loans import queries as loan_queries
from app.loans.models import LoanStatus
from app.loans.schemas import LoanRead
from app.users import service as users
from app.users.schemas import UserUpdate
from app.web import forms
from app.web.catalogue import MANY, branch_names
from app.web.forms import Mistakes
from app.web.page import Page, View

router = APIRouter()

Cursor = Annotated[str | None, Query(max_length=1_024)]
CALENDAR_DAYS: Final = 366


@router.get("/me/profile")
async def profile(page: Page, who: SignedIn) -> Response:
    """Name, language, home branch, and whether the library keeps what he borrowed."""
    del who
    return page.show("profile.html", **await _facts(page), typed={}, problem=None, errors={})


@router.post("/me/profile")
async def save_profile(page: Page, who: SignedIn) -> Response:
    """Change them."""
    values = {
        "full_name": page.form.get("full_name") or " ",  # empty is no name, not "leave it"
        "locale": page.text("locale"),
        "home_branch": page.text("home_branch") or None,
        "keeps_history": "true" if page.text("keeps_history") else "false",
    }
    try:
        data = forms.read(UserUpdate, values, page.words)
        async with page.changing() as session:
            if data.home_branch:
                await branches.check_open(session, data.home_branch)
            changes = data.model_dump(exclude_unset=True)
            await users.change(session, user_id=who.user_id, changes=changes, if_match=None)
            return page.go("/me/profile", "saved")
    except Mistakes as mistakes:
        return page.refuse("profile.html", mistakes.errors, **await _facts(page))
    except AppError as error:
        return page.refuse("profile.html", error, **await _facts(page))


async def _facts(page: View) -> dict[str, Any]:
    async with page.database.reading() as session:
        return {"branches": await branch_names(session)}


@router.get("/me/charges")
async def charges(page: Page, who: SignedIn, cursor: Cursor = None) -> Response:
    """What he owes, and how it came about."""
    async with page.database.reading() as session:
        found = await statement_of(session, who.pseudonym, page.settings.currency, cursor, 50)
    return page.show("charges.html", statement=found)


@router.get("/me/history")
async def history(page: Page, who: SignedIn, cursor: Cursor = None) -> Response:
    """What he has returned, as long as he keeps it."""
    async with page.database.reading() as session:
        found, following = await loan_queries.page(
            session, reader_id=who.user_id, status=LoanStatus.RETURNED, cursor=cursor, limit=50
        )
        returned = await read_loans(session, found, now=page.now)
    return page.show("history.html", loans=returned, following=following)


@router.get("/me/views")
async def views(page: Page, who: SignedIn, cursor: Cursor = None) -> Response:
    """Who of the staff looked at his record."""
    async with page.database.reading() as session:
        found = await list_my_views(page.request, session, who, Response(), cursor, 50)
    return page.show("views.html", views=found)


@router.post("/me/calendar")
async def make_calendar(page: Page, who: ConfirmedPerson) -> Response:
    """An address for calendar programs, shown once; it reads and changes nothing."""
    async with page.database.transaction() as session:
        _, secret = await keys.make(
            session, identity=who, name="Calendar", scopes=[OwnAccount.READ], days=CALENDAR_DAYS, now=page.now
        )
    return page.show("calendar.html", address=f"{page.settings.address}/calendar/{secret}.ics")


@router.get("/calendar/{key}.ics")
async def calendar(page: Page, key: Annotated[str, Path(max_length=256)]) -> Response:
    """Due dates and books to collect, as calendar programs read them (RFC 5545)."""
    try:
        async with page.database.reading() as session:
            who, _ = await keys.identify(session, token=key, now=page.now)
            found, _ = await loan_queries.page(
                session, reader_id=who.user_id, status=LoanStatus.OPEN, cursor=None, limit=MANY
            )
            lent = await read_loans(session, found, now=page.now)
    except AppError:
        raise NotFound from None
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//library//due dates//EN"]
    for loan in lent:
        lines += _event(page, loan)
    text = "\r\n".join([*lines, "END:VCALENDAR", ""])
    return Response(text, media_type="text/calendar; charset=utf-8", headers={"Cache-Control": "private, no-store"})


def _event(page: View, loan: LoanRead) -> list[str]:
    day = page.words.local(loan.due_at).date()
    title = str(page.words.say("Return: {title}", title=loan.title))
    escaped = title.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")
    return [
        "BEGIN:VEVENT",
        f"UID:{loan.id}@{page.settings.project_name.lower().replace(' ', '-')}",
        f"DTSTAMP:{page.now:%Y%m%dT%H%M%SZ}",
        f"DTSTART;VALUE=DATE:{day:%Y%m%d}",
        f"DTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}",
        f"SUMMARY:{escaped}",
        "END:VEVENT",
    ]
