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
    loan_days: Days = 28
    renewals: Count = 2
    loan_limit: Count = 20
    booking_limit: Count = 10
    pickup_days: Annotated[int, Field(ge=1, le=365)] = 7
    fine_per_day_minor: Minor = 0
    fine_cap_minor: Minor = 0


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


class PolicyPage(Read):
    items: list[PolicyRead]
    next: str | None
