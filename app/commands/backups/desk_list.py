"""The day's desk list: what a desk needs to go on with paper when nothing else works, as CSV and to be printed.

Of readers it holds card numbers and nothing else, and no title stands beside a card: what somebody reads is in neither
list. It is kept for two days.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

from app.bookings.models import Booking, BookingStatus
from app.branches.models import Branch
from app.commands.backups import place as places
from app.commands.backups.place import Place
from app.copies.models import Copy
from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject
from app.loans.models import Loan, LoanStatus
from app.users.models import User

FOLDER: Final = "desk"
DAYS_KEPT: Final = 2
HEADINGS: Final = ("List", "Branch", "Card", "Barcode", "Until")
NAMES: Final = {"loan": "On loan", "hold": "On the hold shelf"}
STYLE: Final = (
    "body{font:11pt sans-serif}table{border-collapse:collapse;width:100%}"
    "th,td{border-bottom:1px solid #999;padding:2pt 6pt;text-align:left}thead{display:table-header-group}"
    "h2{break-before:page}h2:first-of-type{break-before:auto}.paper td{height:22pt}"
)
HINT: Final = "Write down below what goes out and comes back; scan it when the service is back. Shred this tomorrow."
BLANK_LINES: Final = 25

Row = tuple[str, str, str, str, str]


async def write(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Write today's files into the place of backups, and take those of the day before yesterday away."""
    rows = await _rows(database, settings)
    local = now.astimezone(ZoneInfo(settings.timezone))
    folder = Place(settings).ready(FOLDER)
    places.write(folder / f"{local:%Y-%m-%d}.csv", _csv(rows).encode())
    places.write(folder / f"{local:%Y-%m-%d}.html", _page(rows, settings.project_name, local).encode())
    for kind in ("csv", "html"):
        for old in sorted(folder.glob(f"*.{kind}"))[:-DAYS_KEPT]:
            old.unlink()
    return {"loans": sum(row[0] == "loan" for row in rows), "holds": sum(row[0] == "hold" for row in rows)}


def newest(settings: Settings) -> list[Path]:
    """The files that were written last."""
    folder = Place(settings).ready(FOLDER)
    return [max(folder.glob(f"*.{kind}")) for kind in ("csv", "html")]


async def _rows(database: Database, settings: Settings) -> list[Row]:
    """By branch and card; days are those of the branch."""
    loans = (
        select(Loan.branch_id, User.card_number, Copy.barcode, Loan.due_at)
        .join(User, User.id == Loan.reader_id)
        .join(Copy, Copy.id == Loan.copy_id)
        .where(Loan.status == LoanStatus.OPEN)
    )
    holds = (
        select(Booking.pickup_branch_id, User.card_number, Copy.barcode, Booking.pickup_until)
        .join(User, User.id == Booking.reader_id)
        .join(Copy, Copy.id == Booking.copy_id)
        .where(Booking.status == BookingStatus.READY)
    )
    found: list[Row] = []
    async with database.reading() as session:
        zones = {
            branch.id: ZoneInfo(branch.timezone or settings.timezone)
            for branch in await session.scalars(select(Branch))
        }
        for name, statement in (("loan", loans), ("hold", holds)):
            for branch, card, barcode, until in await session.execute(statement):
                day = f"{until.astimezone(zones[branch]):%Y-%m-%d}" if until else ""
                found.append((name, branch, card, barcode, day))
    return sorted(found, key=lambda row: (row[1], row[0], row[2], row[4], row[3]))


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADINGS)
    writer.writerows(rows)
    return text.getvalue()


def _page(rows: Sequence[Row], library: str, at: datetime) -> str:
    title = f"{library}: desk list of {at:%Y-%m-%d %H:%M}"
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>',
        f"<h1>{escape(title)}</h1><p>{HINT}</p>",
    ]
    for branch in dict.fromkeys(row[1] for row in rows):
        for name, heading in NAMES.items():
            listed = [row[2:] for row in rows if row[:2] == (name, branch)]
            parts.append(f"<h2>{escape(branch)}: {heading} ({len(listed)})</h2>{_table(HEADINGS[2:], listed)}")
    blank = [("", "", "", "")] * BLANK_LINES
    parts.append(f'<h2>On paper</h2><div class="paper">{_table(("Time", "Out or in", "Card", "Barcode"), blank)}</div>')
    return "".join(parts)


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
