"""The shapes of branches."""

from datetime import date
from typing import Annotated, Final
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from app.core.schemas import Code, Day, Read, ShortLine, Strict

MAX_EXCEPTIONS: Final = 2_000


def _is_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("must be an IANA time zone such as Europe/Berlin")
    return value


Zone = Annotated[ShortLine, AfterValidator(_is_zone)]


class BranchCreate(Strict):
    id: Code
    name: ShortLine
    timezone: Zone | None = None


class BranchUpdate(Strict):
    """A change: only the fields sent are touched."""

    name: ShortLine = ""
    timezone: Zone | None = None


class BranchRead(Read):
    id: str
    version: int
    name: str
    timezone: str | None


class BranchPage(Read):
    items: list[BranchRead]
    next: str | None


class OpeningException(Strict):
    """A day that is open though its weekday usually isn't, or closed though it usually is."""

    on: Annotated[Day, Field(ge=date(2000, 1, 1), le=date(2199, 12, 31))]
    is_open: bool
    note: ShortLine | None = None


def _in_order(weekdays: list[int]) -> list[int]:
    if len(set(weekdays)) != len(weekdays):
        raise ValueError("must name each weekday once")
    return sorted(weekdays)


def _by_day(exceptions: list[OpeningException]) -> list[OpeningException]:
    if len({each.on for each in exceptions}) != len(exceptions):
        raise ValueError("must name each day once")
    return sorted(exceptions, key=lambda each: each.on)


class CalendarWrite(Strict):
    """When a branch opens; weekdays from 1 (Monday) to 7 (Sunday), at least one."""

    open_weekdays: Annotated[
        list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1, max_length=7), AfterValidator(_in_order)
    ]
    exceptions: Annotated[list[OpeningException], Field(max_length=MAX_EXCEPTIONS), AfterValidator(_by_day)] = []


class OpeningExceptionRead(Read):
    on: date
    is_open: bool
    note: str | None


class CalendarRead(Read):
    """`timezone` is the branch's own or the library's; days begin and end in it."""

    timezone: str
    open_weekdays: list[int]
    exceptions: list[OpeningExceptionRead]
