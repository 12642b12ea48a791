"""Types that schemas of every feature share: strict bodies, clean text, money, pages."""

import re
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_IN_PROSE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _printable(text: str) -> str:
    if _CONTROL_IN_PROSE.search(text):
        raise ValueError("must not hold control characters")
    return text


def _line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must be one line without control characters")
    return text


def _day(value: object) -> object:
    """A day comes as text in one spelling only: pydantic alone would also take seconds since 1970 for one."""
    if isinstance(value, str):
        if not _DAY.fullmatch(value):
            raise ValueError("must be a day such as 2026-12-31")
        return date.fromisoformat(value)
    return value


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000), AfterValidator(_line)]
ShortLine = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_line)
]
Prose = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_printable)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Day = Annotated[date, Field(strict=True), BeforeValidator(_day)]
Id = Annotated[UUID, Field(strict=False)]


class Strict(BaseModel):
    """What comes in: no coercion between JSON types, no unknown field."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Read(BaseModel):
    """What goes out: no defaults, so that the schema says what is always there."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Money(Read):
    amount_minor: int
    currency: str


JsonObject = dict[str, Any]
