"""The shapes of policies."""

from typing import Annotated

from pydantic import Field

from app.core.schemas import Code, Money, Read, Strict

Days = Annotated[int, Field(ge=0, le=3_650)]
Count = Annotated[int, Field(ge=0, le=10_000)]
Minor = Annotated[int, Field(ge=0, le=100_000_000)]


class PolicyCreate(Strict):
    """Terms of borrowing; category, item type and branch left out mean "any"."""

    category: Code | None = None
    item_type: Code | None = None
    branch: Code | None = None
    loan_days: Annotated[Days, Field(description="0: not for loan")] = 28
    renewals: Count = 2
    loan_limit: Count = 20
    booking_limit: Count = 10
    pickup_days: Annotated[int, Field(ge=1, le=365)] = 7
    fine_per_day_minor: Minor = 0
    fine_cap_minor: Annotated[Minor, Field(description="What an overdue loan costs at most; 0: no cap")] = 0
    lost_fee_minor: Annotated[Minor, Field(description="Charged for a lost copy on top of its price")] = 0
    minimum_loan_days: Annotated[Days, Field(description="A recall shortens no loan below this")] = 7


class PolicyUpdate(PolicyCreate):
    """A change: only the fields sent are touched."""


class PolicyRead(Read):
    id: int
    version: int
    category: str | None
    item_type: str | None
    branch: str | None
    loan_days: int
    renewals: int
    loan_limit: int
    booking_limit: int
    pickup_days: int
    fine_per_day: Money
    fine_cap: Money
    lost_fee: Money
    minimum_loan_days: int


class PolicyPage(Read):
    items: list[PolicyRead]
    next: str | None
