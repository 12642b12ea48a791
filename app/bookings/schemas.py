"""The shapes of bookings."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from app.bookings.models import BookingStatus
from app.core.pagination import MAX_ID
from app.core.schemas import Code, Day, Prose, Read, Strict

CardNumber = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[0-9A-Za-z-]{1,32}$")]
BookId = Annotated[int, Field(ge=1, le=MAX_ID)]


class BookingCreate(Strict):
    """A wish for any copy of a book. Staff book for a reader by his card, and may recall a copy."""

    book_id: BookId
    pickup_branch: Code | None = None
    card_number: CardNumber | None = None
    recall: bool = False


class BookingBatch(Strict):
    """Many bookings at once, each with an answer of its own; for a class, a reading circle."""

    items: Annotated[list[BookingCreate], Field(min_length=1, max_length=100)]


class BookingSuspend(Strict):
    until: Annotated[Day | None, Field(description="Resume by itself on this day")] = None


class BookingCancel(Strict):
    reason: Prose | None = None


class BookingRead(Read):
    """A booking; place and expectation are there only while it waits."""

    id: UUID
    book_id: int
    title: str
    status: BookingStatus
    pickup_branch: str
    placed_at: datetime
    position: Annotated[int | None, Field(description="Place in the queue, from 1")]
    ahead: int | None
    ahead_by_priority: int | None
    expected_at: datetime | None
    pickup_until: datetime | None
    suspended_until: date | None
    closed_at: datetime | None


class BookingPage(Read):
    items: list[BookingRead]
    next: str | None


class BatchItem(Read):
    """One row's answer: the booking, or the refusal's code and sentence."""

    index: int
    status: int
    booking: BookingRead | None
    code: str | None
    detail: str | None


class BatchResult(Read):
    items: list[BatchItem]


class ShelfRow(Read):
    """A copy to fetch or to hand out, and for whom; `card_number` is what stands on the slip."""

    booking_id: UUID
    copy_id: int
    barcode: str
    call_number: str | None
    shelf_location: str | None
    book_id: int
    title: str
    pickup_branch: str
    card_number: str
    pickup_until: datetime | None


class ShelfPage(Read):
    items: list[ShelfRow]
    next: str | None


StatusFilter = Literal["open", "waiting", "suspended", "allocated", "ready", "fulfilled", "cancelled", "expired"]
