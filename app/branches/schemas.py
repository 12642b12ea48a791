"""The shapes of branches."""

from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator

from app.core.schemas import Code, Read, ShortLine, Strict


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
