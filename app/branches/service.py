"""Branches: opening, renaming and closing them, and the days on which they open."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.branches.calendar import Calendar
from app.branches.models import ALWAYS_OPEN, Branch
from app.branches.schemas import BranchCreate, BranchRead, CalendarRead, CalendarWrite
from app.core.direct import Direct
from app.core.errors import Conflict, Gone, NotFound, Unprocessable
from app.core.schemas import JsonObject
from app.core.versioning import IfMatch, compare


class BranchNotFound(NotFound):
    code, detail = "branch_not_found", "There is no such branch."


class BranchGone(Gone):
    code, detail = "branch_gone", "This branch has been closed."


class UnknownBranch(Unprocessable):
    code, detail = "unknown_branch", "There is no open branch '{branch}'."


class BranchExists(Conflict):
    code, detail = "branch_exists", "A branch with this id is or was there; choose another id."


class BranchInUse(Conflict):
    code, detail = "branch_in_use", "The branch can't be closed while it has {what}."


class Opening(Protocol):
    """What of a branch says when it opens."""

    @property
    def timezone(self) -> str | None: ...

    @property
    def calendar(self) -> dict[str, Any]: ...


_CALENDAR: Final = Direct(select(Branch.timezone, Branch.calendar).where(Branch.id == bindparam("branch_id")))
_OPEN_IDS: Final = Direct(select(Branch.id).where(Branch.deleted_at.is_(None)).order_by(Branch.created_at, Branch.id))
_IS_OPEN: Final = Direct(select(Branch.id).where(Branch.id == bindparam("branch_id"), Branch.deleted_at.is_(None)))


async def open_branch(session: AsyncSession, *, data: BranchCreate, now: datetime) -> Branch:
    """Add a branch, open every day until its calendar says otherwise.

    Raises:
        BranchExists.
    """
    branch = Branch(id=data.id, version=1, name=data.name, timezone=data.timezone, calendar=ALWAYS_OPEN, created_at=now)
    try:
        async with session.begin_nested():
            session.add(branch)
    except IntegrityError:
        raise BranchExists from None
    return branch


async def change(session: AsyncSession, *, branch_id: str, changes: JsonObject, if_match: IfMatch) -> Branch:
    """Rename a branch or move it to another time zone.

    Raises:
        BranchNotFound, BranchGone, VersionChanged.
    """
    branch = await _locked(session, branch_id)
    compare(branch.version, if_match, lambda: BranchRead.model_validate(branch))
    for name, value in changes.items():
        setattr(branch, name, value)
    if session.is_modified(branch):
        branch.version += 1
    await session.flush()
    return branch


async def set_calendar(
    session: AsyncSession, *, branch_id: str, data: CalendarWrite, if_match: IfMatch, default_zone: str
) -> Branch:
    """Say when a branch opens. Due dates that were given already stay.

    Raises:
        BranchNotFound, BranchGone, VersionChanged.
    """
    branch = await _locked(session, branch_id)
    compare(branch.version, if_match, lambda: read_calendar(branch, default_zone))
    branch.calendar = data.model_dump(mode="json")
    if session.is_modified(branch):
        branch.version += 1
    await session.flush()
    return branch


async def close(
    session: AsyncSession, *, branch_id: str, if_match: IfMatch, in_use: Iterable[str], now: datetime
) -> None:
    """Close a branch for good; `in_use` names what still hangs on it.

    Raises:
        BranchNotFound, BranchGone, VersionChanged, BranchInUse.
    """
    branch = await _locked(session, branch_id)
    compare(branch.version, if_match, lambda: BranchRead.model_validate(branch))
    if blockers := list(in_use):
        raise BranchInUse(what=" and ".join(blockers), in_use=blockers)
    branch.deleted_at = now
    await session.flush()


async def all_open(session: AsyncSession) -> list[Branch]:
    """Every open branch, the oldest first; a library has few."""
    statement = select(Branch).where(Branch.deleted_at.is_(None)).order_by(Branch.created_at, Branch.id)
    return list(await session.scalars(statement))


async def open_ids(session: AsyncSession) -> list[str]:
    """The ids of every open branch, the oldest first."""
    return [row.id for row in await _OPEN_IDS.all(session)]


async def get(session: AsyncSession, branch_id: str) -> Branch:
    """An open branch.

    Raises:
        BranchNotFound, BranchGone.
    """
    branch = await session.get(Branch, branch_id)
    if branch is None:
        raise BranchNotFound
    if branch.deleted_at:
        raise BranchGone
    return branch


async def check_open(session: AsyncSession, branch_id: str) -> None:
    """Raise UnknownBranch unless something may be put into this branch."""
    if await _IS_OPEN.one(session, branch_id=branch_id) is None:
        raise UnknownBranch(branch=branch_id)


async def calendar(session: AsyncSession, branch_id: str, default_zone: str) -> Calendar:
    """The calendar of a branch, also of one that is closed: what was lent there still comes back.

    Raises:
        BranchNotFound.
    """
    branch = await _CALENDAR.one(session, branch_id=branch_id)
    if branch is None:
        raise BranchNotFound
    return calendar_of(branch, default_zone)


def calendar_of(branch: Opening, default_zone: str) -> Calendar:
    """A branch's calendar in its time zone, or in the library's if it has none of its own."""
    return Calendar(
        zone=ZoneInfo(branch.timezone or default_zone),
        open_weekdays=frozenset(branch.calendar["open_weekdays"]),
        exceptions={date.fromisoformat(day["on"]): day["is_open"] for day in branch.calendar["exceptions"]},
    )


def read_calendar(branch: Branch, default_zone: str) -> CalendarRead:
    return CalendarRead(timezone=branch.timezone or default_zone, **branch.calendar)


async def _locked(session: AsyncSession, branch_id: str) -> Branch:
    statement = select(Branch).where(Branch.id == branch_id).with_for_update()
    branch = (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()
    if branch is None:
        raise BranchNotFound
    if branch.deleted_at:
        raise BranchGone
    return branch
