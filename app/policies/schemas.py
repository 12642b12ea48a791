"""The shapes of policies."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from app.core.schemas import Code, Money, Read, Strict
from app.policies.rules import Outcome

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


class TermsFields(Read):
    loan_days: int
    renewals: int
    loan_limit: int
    booking_limit: int
    pickup_days: int
    fine_per_day: Money
    fine_cap: Money
    lost_fee: Money
    minimum_loan_days: int


class PolicyRead(TermsFields):
    id: int
    version: int
    category: str | None
    item_type: str | None
    branch: str | None


class PolicyPage(Read):
    items: list[PolicyRead]
    next: str | None


Scanned = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")]


class Question(Strict):
    """A case: whose category (or card) and which item type and branch (or the barcode of a copy, which has both)."""

    category: Code | None = None
    card_number: Annotated[Scanned | None, Field(description="Staff: a reader's card instead of a category")] = None
    item_type: Code | None = None
    branch: Code | None = None
    copy_barcode: Annotated[Scanned | None, Field(description="Staff: instead of item type and branch")] = None

    @model_validator(mode="after")
    def _says_each_thing_once(self) -> Self:
        if (self.category is None) == (self.card_number is None):
            raise ValueError("must have either category or card_number")
        if self.copy_barcode is None and (self.item_type is None or self.branch is None):
            raise ValueError("must have either item_type and branch or copy_barcode")
        if self.copy_barcode is not None and (self.item_type is not None or self.branch is not None):
            raise ValueError("must have either item_type and branch or copy_barcode")
        return self


class CandidateRead(Read):
    """A policy and why it decides or not; without an id the built-in terms, without a part of the case any."""

    policy_id: int | None
    category: str | None
    item_type: str | None
    branch: str | None
    outcome: Outcome
    because: str


class TermsRead(TermsFields):
    """The terms that decide; `policy_id` is null for the built-in ones."""

    policy_id: int | None


class Explanation(Read):
    """`candidates`: the policy that decides, those that it outranks, then those for other cases, the nearest first;
    `omitted` is how many more of the last there are.
    """

    category: str
    item_type: str
    branch: str
    may_borrow: bool
    terms: TermsRead
    candidates: list[CandidateRead]
    omitted: int
