"""The shapes of copies."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from app.copies.statuses import CopyStatus
from app.core.schemas import Code, Money, Prose, Read, ShortLine, Strict

MAX_PRICE_MINOR = 100_000_000


def _scannable(value: str) -> str:
    if any(not ("!" <= character <= "~") for character in value):
        raise ValueError("must be printable ASCII without spaces, as a scanner reads it")
    return value


Barcode = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), AfterValidator(_scannable)
]


class CopyFields(Strict):
    call_number: ShortLine | None = None
    shelf_location: ShortLine | None = None
    item_type: Code = "book"
    price_minor: Annotated[int | None, Field(ge=0, le=MAX_PRICE_MINOR)] = None
    note: Prose | None = None


class CopyCreate(CopyFields):
    """A new copy needs nothing but a barcode."""

    barcode: Barcode
    branch: Code | None = None


class CopyUpdate(CopyFields):
    """A change: only the fields sent are touched. The status changes by the desk's verbs, not here."""

    barcode: Barcode = ""
    branch: Code = ""


class CopyRead(Read):
    id: int
    version: int
    book_id: int
    barcode: str
    call_number: str | None
    branch: str
    shelf_location: str | None
    item_type: str
    status: CopyStatus
    price: Money | None
    note: str | None


class CopyPage(Read):
    items: list[CopyRead]
    next: str | None
