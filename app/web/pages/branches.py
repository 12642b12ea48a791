"""Branches, and the days on which they open."""

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response

from app.api.deps import BranchEditor, CalendarEditor
from app.api.v1.endpoints import branches as api_branches
from app.auth import service as auth
from app.branches import service as branches
from app.branches.schemas import BranchCreate, BranchUpdate, CalendarWrite
from app.core.errors import AppError
from app.core.versioning import VersionChanged
from app.web import forms
from app.web.forms import Mistakes
from app.web.page import Page, View

router = APIRouter()

BranchId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
_MONTH: Final = re.compile(r"20\d\d-(0[1-9]|1[0-2])", re.ASCII)


@router.get("/branches")
async def show(page: Page, who: CalendarEditor) -> Response:
    """All branches."""
    del who
    return await _list(page)


async def _list(page: View, *, errors: dict[str, str] | None = None, error: AppError | None = None) -> Response:
    async with page.database.reading() as session:
        found = await branches.all_open(session)
    return page.show(
        "branches.html", error.status if error else 422 if errors else 200, branches=found, typed=page.typed,
        errors=errors or {}, problem=page.words.refusal(error) if error else None,
    )  # fmt: skip


@router.post("/branches")
async def add(page: Page, who: BranchEditor) -> Response:
    """Open a branch."""
    del who
    try:
        data = forms.read(BranchCreate, {name: page.text(name) for name in ("id", "name", "timezone")}, page.words)
        async with page.changing() as session:
            await branches.open_branch(session, data=data, now=page.now)
            return page.go("/branches", "added")
    except Mistakes as mistakes:
        return await _list(page, errors=mistakes.errors)
    except AppError as error:
        return await _list(page, error=error)


@router.get("/branches/{branch_id}")
async def one(page: Page, who: CalendarEditor, branch_id: BranchId, month: str = "") -> Response:
    """One branch and a month of its calendar."""
    del who
    return await _one(page, branch_id, month)


async def _one(
    page: View, branch_id: str, month: str, *, errors: dict[str, str] | None = None, error: AppError | None = None
) -> Response:
    async with page.database.reading() as session:
        branch = await branches.get(session, branch_id)
        calendar = branches.read_calendar(branch, page.settings.timezone)
    this_month = f"{page.words.local(page.now):%Y-%m}"
    first = date.fromisoformat(f"{month if _MONTH.fullmatch(month) else this_month}-01")
    days = [first + timedelta(days=index) for index in range(monthrange(first.year, first.month)[1])]
    exceptions = {each.on: each for each in calendar.exceptions}
    is_open = {
        day: exceptions[day].is_open if day in exceptions else day.isoweekday() in calendar.open_weekdays
        for day in days
    }
    version = branch.version if isinstance(error, VersionChanged) or not page.text("version") else page.text("version")
    return page.show(
        "branch.html", error.status if error else 422 if errors else 200, branch=branch, calendar=calendar, days=days,
        is_open=is_open, exceptions=exceptions, before=f"{first - timedelta(days=1):%Y-%m}", version=version,
        after=f"{days[-1] + timedelta(days=1):%Y-%m}", month=f"{first:%Y-%m}", typed=page.typed, errors=errors or {},
        problem=page.words.refusal(error) if error else None,
    )  # fmt: skip


@router.post("/branches/{branch_id}")
async def save(page: Page, who: BranchEditor, branch_id: BranchId) -> Response:
    """Rename a branch."""
    del who
    try:
        values = {"name": page.text("name"), "timezone": page.text("timezone") or None}
        data = forms.read(BranchUpdate, values, page.words)
        async with page.changing() as session:
            changes = data.model_dump(exclude_unset=True)
            await branches.change(session, branch_id=branch_id, changes=changes, if_match=_version(page))
            return page.go(f"/branches/{branch_id}", "saved")
    except Mistakes as mistakes:
        return await _one(page, branch_id, "", errors=mistakes.errors)
    except AppError as error:
        return await _one(page, branch_id, "", error=error)


@router.post("/branches/{branch_id}/close")
async def close(page: Page, who: BranchEditor, branch_id: BranchId) -> Response:
    """Close a branch that has no copies."""
    try:
        async with page.changing() as session:
            await api_branches.close_branch(branch_id, session, who, _version(page), page.now)
            return page.go("/branches", "removed")
    except AppError as error:
        return await _one(page, branch_id, "", error=error)


@router.post("/branches/{branch_id}/calendar")
async def set_calendar(page: Page, who: CalendarEditor, branch_id: BranchId) -> Response:
    """Say on which weekdays it opens, or make one day an exception, or none any more."""
    month = page.text("month")[:7]
    try:
        async with page.changing() as session:
            await auth.check_branch(session, identity=who, branch_id=branch_id)
            branch = await branches.get(session, branch_id)
            data = forms.read(CalendarWrite, _changed(page, branch.calendar), page.words)
            await branches.set_calendar(
                session, branch_id=branch_id, data=data, if_match=_version(page), default_zone=page.settings.timezone
            )
            return page.go(f"/branches/{branch_id}?month={month}" if month else f"/branches/{branch_id}", "saved")
    except Mistakes as mistakes:
        return await _one(page, branch_id, month, errors=mistakes.errors)
    except AppError as error:
        return await _one(page, branch_id, month, error=error)


def _changed(page: View, stored: dict[str, Any]) -> dict[str, Any]:
    """The calendar with the day that was pressed the other way round, or with other weekdays."""
    day = page.text("day")
    if not day:
        return {"open_weekdays": page.texts("weekday"), "exceptions": stored["exceptions"]}
    others = [each for each in stored["exceptions"] if each["on"] != day]
    if len(others) == len(stored["exceptions"]):
        others.append({"on": day, "is_open": page.text("is_open") != "true", "note": page.text("note") or None})
    return {"open_weekdays": stored["open_weekdays"], "exceptions": others}


def _version(page: View) -> frozenset[int]:
    return frozenset({page.number("version")})
