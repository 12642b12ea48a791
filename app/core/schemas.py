"""Types that schemas of every feature share: strict bodies, clean text, money, pages."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic import Strict as Strict_


def _printable(text: str) -> str:
    if any((character < " " and character not in "\t\n\r") or character == "\x7f" for character in text):
        raise ValueError("must not hold control characters")
    return text


def _line(text: str) -> str:
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("must be one line without control characters")
    return text


def _only_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  # pydantic turns this one into a validation error
    return value


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000), AfterValidator(_line)]
ShortLine = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_line)
]
Prose = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_printable)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


# JSON has no dates and no UUIDs: these are read from their text, and from nothing else.
Day = Annotated[date, Strict_(strict=False), BeforeValidator(_only_text)]
Id = Annotated[UUID, Strict_(strict=False), BeforeValidator(_only_text)]


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
