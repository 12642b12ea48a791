"""The ledger: what readers owe and paid, in rows that are only ever added."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, Text, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, UtcDateTime


class Kind(StrEnum):
    CHARGE = "charge"
    PAYMENT = "payment"
    WAIVER = "waiver"
    REFUND = "refund"
    REVERSAL = "reversal"


class Reason(StrEnum):
    OVERDUE = "overdue"
    LOST = "lost"
    LOST_FEE = "lost_fee"
    FEE = "fee"
    DAMAGE = "damage"
    OTHER = "other"


def _listed(words: type[StrEnum]) -> str:
    return ", ".join(f"'{word}'" for word in words)


class Entry(Base):
    """A row of a reader's account: a charge, or what settles one. Triggers refuse to change or delete it.

    `subject` and `actor` are pseudonyms of accounts (users.pseudonym). `number` counts a reader's entries from 1 and
    `balance_minor` is what he owes after this one: two writers who did not wait for each other clash on the number.
    Only `loan_id` may be emptied, when the loan's link to its reader fades.
    """

    __tablename__ = "ledger_entries"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    subject: Mapped[UUID] = mapped_column(Uuid)
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    settles_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("ledger_entries.id"), index=True)
    loan_id: Mapped[UUID | None] = mapped_column(Uuid, index=True)
    branch_id: Mapped[str | None] = mapped_column(ForeignKey("branches.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[UUID | None] = mapped_column(Uuid)
    note: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint(f"kind IN ({_listed(Kind)})", name="kind"),
        CheckConstraint(f"reason IN ({_listed(Reason)})", name="reason"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("number > 0", name="number"),
        CheckConstraint("(kind = 'charge') = (settles_id IS NULL)", name="settles"),
        UniqueConstraint("subject", "number"),
    )
