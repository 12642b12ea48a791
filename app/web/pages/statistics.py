"""Statistics: questions with an answer each, drawn on the server, with the numbers and a file beside."""

import csv
from dataclasses import asdict
from datetime import datetime
from io import StringIO
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response

from app.api.deps import CatalogueEditor
from app.auth import service as auth
from app.loans import statistics
from app.users.models import Role
from app.web.catalogue import branch_names
from app.web.charts import bars
from app.web.page import Page, View

router = APIRouter()

MONTHS = 12
Branch = Annotated[str, Query(max_length=32)]


@router.get("/statistics")
async def show(page: Page, who: CatalogueEditor, branch: Branch = "") -> Response:
    """A year of the library, or of one of its branches."""
    del who
    facts = await _facts(page, branch)
    months, numbers = facts["months"], facts["loans"]
    summary = page.words.count(sum(numbers), "{n} loan in twelve months", "{n} loans in twelve months")
    return page.show("statistics.html", **facts, chart=bars(numbers, str(summary)), finding=_finding(page, numbers),
                     first=months[0], last=months[-1])  # fmt: skip


@router.get("/statistics/{name}.csv")
async def as_csv(
    page: Page, who: CatalogueEditor, name: Literal["loans", "popular", "unfilled"], branch: Branch = ""
) -> Response:
    """The numbers behind a chart."""
    del who
    facts = await _facts(page, branch)
    text = StringIO()
    writer = csv.writer(text)
    if name == "loans":
        writer.writerow(["month", "loans"])
        writer.writerows(
            (f"{month:%Y-%m}", number) for month, number in zip(facts["months"], facts["loans"], strict=True)
        )
    else:
        writer.writerow(["book_id", "title", "number", "copies"])
        writer.writerows(_guarded(asdict(row)) for row in facts[name])
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
    return Response("\ufeff" + text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _guarded(row: dict[str, Any]) -> list[Any]:
    """No cell that a spreadsheet would take for a formula."""
    return [f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t" else value for value in row.values()]


async def _facts(page: View, branch: str) -> dict[str, Any]:
    starts = _months(page)
    async with page.database.reading() as session:
        names = await branch_names(session)
        if page.me.role is not Role.ADMIN:
            mine = [name for name in names if await _is_his(session, page, name)]
            names = {name: names[name] for name in mine}
        chosen = branch if branch in names else (None if page.me.role is Role.ADMIN else next(iter(names), ""))
        return {
            "branches": names,
            "branch": chosen or "",
            "months": starts,
            "loans": await statistics.by_month(session, starts=starts, end=page.now, branch_id=chosen),
            "overview": await statistics.overview(session, now=page.now, branch_id=chosen),
            "popular": await statistics.most_lent(session, since=starts[0], branch_id=chosen),
            "unfilled": await statistics.unfilled(session, branch_id=chosen),
        }


async def _is_his(session: Any, page: View, branch: str) -> bool:
    try:
        await auth.check_branch(session, identity=page.me, branch_id=branch)
    except auth.NotYourBranch:
        return False
    return True


def _months(page: View) -> list[datetime]:
    """The first instants of the last twelve months, this one too."""
    zone = ZoneInfo(page.settings.timezone)
    today = page.now.astimezone(zone)
    index = today.year * 12 + today.month - 1
    return [datetime(month // 12, month % 12 + 1, 1, tzinfo=zone) for month in range(index - MONTHS + 1, index + 1)]


def _finding(page: View, numbers: list[int]) -> str:
    """What the chart says, as its heading."""
    before, now = numbers[-2], numbers[-1]
    if not any(numbers):
        return str(page.words.say("Nothing has been lent yet"))
    if now > before:
        return str(page.words.say("More was lent this month than in the last"))
    return str(page.words.say("{number} loans this month, {before} in the last", number=now, before=before))
