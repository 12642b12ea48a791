"""The shapes of charges and of what settles them."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from app.charges.models import Kind, Reason
from app.core.schemas import Id, Money, Read, ShortLine, Strict

MAX_AMOUNT_MINOR: Final = 100_000_000


class Settlement(Strict):
    """Money taken, forgiven or paid out: for one charge, or for as many as it covers, the oldest first."""

    amount_minor: Annotated[int, Field(ge=1, le=MAX_AMOUNT_MINOR)]
    charge_id: Id | None = None
    note: ShortLine | None = None


class EntryRead(Read):
    """`balance` is what was owed after this entry; `open` is what is left of a charge now (below 0: a credit)."""

    id: UUID
    kind: Kind
    reason: Reason
    amount: Money
    balance: Money
    open: Money | None
    charge_id: UUID | None
    loan_id: UUID | None
    branch: str | None
    created_at: datetime
    note: str | None


class Statement(Read):
    """Below 0 the balance is a credit."""

    balance: Money
    items: list[EntryRead]
    next: str | None


class SettlementRead(Read):
    """What a settlement did: one entry for each charge it covers."""

    balance: Money
    items: list[EntryRead]
