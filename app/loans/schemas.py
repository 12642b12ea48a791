"""The shapes of loans, returns and the desk."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.bookings.schemas import BookId, BookingRead, CardNumber
from app.copies.schemas import Barcode, CopyRead
from app.copies.statuses import CopyStatus
from app.core.schemas import Code, Id, Money, Read, ShortLine, Strict
from app.loans.models import LoanStatus

Reason = Annotated[ShortLine, Field(description="Why; kept in the audit trail")]


class OverrideCreate(Strict):
    """Rules that a librarian lifts for this loan: expired, blocked, limit, not_for_loan, promised_to_another."""

    rules: Annotated[list[Code], Field(min_length=1, max_length=5)]
    reason: Reason


class LoanCreate(Strict):
    copy_barcode: Barcode
    card_number: CardNumber
    branch: Code | None = None
    override: OverrideCreate | None = None


class ReturnCreate(Strict):
    copy_barcode: Barcode
    branch: Code | None = None


class LoanRead(Read):
    """A loan; overdue is derived from due_at. `scan_id` undoes the scan that made it, for ten minutes."""

    id: UUID
    status: LoanStatus
    copy_id: int
    copy_barcode: str
    book_id: int
    title: str
    branch: str
    checked_out_at: datetime
    due_at: datetime
    is_overdue: bool
    returned_at: datetime | None
    claimed_returned_at: datetime | None
    recalled_at: datetime | None
    renewals: int
    renewals_left: int
    scan_id: UUID | None


class LoanPage(Read):
    items: list[LoanRead]
    next: str | None


class LostRead(Read):
    loan: LoanRead
    charged: Money


class ReturnRead(Read):
    """What to do with the copy: reshelve it, put it on the hold shelf, or send it to another branch."""

    action: Literal["reshelve", "hold_shelf", "transfer"]
    item: Annotated[CopyRead, Field(serialization_alias="copy")]
    booking: BookingRead | None
    for_card: Annotated[str | None, Field(description="The card of the reader for whom it is kept")]
    to_branch: str | None
    loan: LoanRead | None
    charged: Money
    scan_id: UUID | None


class StatusChange(Strict):
    status: Literal["available", "in_repair", "missing", "withdrawn"]
    reason: Reason

    @property
    def wanted(self) -> CopyStatus:
        return CopyStatus(self.status)


class Undo(Strict):
    scan_id: Id


class UndoRead(Read):
    scan_id: UUID
    undone_at: datetime
    item: Annotated[CopyRead, Field(serialization_alias="copy")]


class Merge(Strict):
    """The book that is kept."""

    into: BookId
