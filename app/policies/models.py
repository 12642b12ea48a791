"""Policies: the terms on which a category of readers borrows a type of copy in a branch."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, BigId, UtcDateTime


class Policy(Base):
    """One row of terms. Empty category, item type or branch mean "any"; the most specific row wins."""

    __tablename__ = "policies"

    id: Mapped[int] = mapped_column(BigId, Identity(always=False), primary_key=True)
    version: Mapped[int]
    category: Mapped[str | None] = mapped_column(String(32))
    item_type: Mapped[str | None] = mapped_column(String(32))
    branch_id: Mapped[str | None] = mapped_column(ForeignKey("branches.id"))
    loan_days: Mapped[int]
    renewals: Mapped[int]
    loan_limit: Mapped[int]
    booking_limit: Mapped[int]
    pickup_days: Mapped[int]
    fine_per_day_minor: Mapped[int]
    fine_cap_minor: Mapped[int]
    lost_fee_minor: Mapped[int] = mapped_column(server_default="0")
    minimum_loan_days: Mapped[int] = mapped_column(server_default="7")
    # category|item type|branch: no two rows for one case, so which one wins is never a matter of chance.
    case_key: Mapped[str] = mapped_column(String(98), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(
            "loan_days >= 0 AND renewals >= 0 AND loan_limit >= 0 AND booking_limit >= 0 AND pickup_days > 0"
            " AND fine_per_day_minor >= 0 AND fine_cap_minor >= 0",
            name="sane",
        ),
        CheckConstraint("lost_fee_minor >= 0", name="lost_fee"),
        CheckConstraint("minimum_loan_days >= 0", name="minimum_loan"),
    )
