"""What happened: events for whoever follows the library, audit entries for whoever answers for it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, String, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, BigId, Document, UtcDateTime
from app.core.functions import transaction_number


class Event(Base):
    """One change of state, written in the transaction that made it. Append-only.

    `id` is the order of writing, `change_id` that of the audit entry beside it. Names no reader: a loan or booking
    does, until its link fades.
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigId, Identity(always=False), primary_key=True)
    change_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    transaction: Mapped[int] = mapped_column(BigInteger, server_default=transaction_number())
    kind: Mapped[str] = mapped_column(String(32))
    happened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    book_id: Mapped[int | None] = mapped_column(BigId)
    copy_id: Mapped[int | None] = mapped_column(BigId)
    booking_id: Mapped[UUID | None] = mapped_column(Uuid)
    loan_id: Mapped[UUID | None] = mapped_column(Uuid)
    branch_id: Mapped[str | None] = mapped_column(String(32))
    data: Mapped[dict[str, Any]] = mapped_column(Document)

    __table_args__ = (
        Index("ix_events_copy_id_id", "copy_id", "id"),
        Index("ix_events_book_id_id", "book_id", "id"),
        {"sqlite_autoincrement": True},
    )


class AuditEntry(Base):
    """Who did it, or who looked.

    `actor` and `subject` are pseudonyms of accounts (users.pseudonym): erasing an account cuts the link.
    A reader who acts for himself leaves no actor: his booking or loan names him as long as it may.
    """

    __tablename__ = "audit_entries"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    action: Mapped[str] = mapped_column(String(32))
    happened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[UUID | None] = mapped_column(Uuid)
    actor_role: Mapped[str] = mapped_column(String(16))
    subject: Mapped[UUID | None] = mapped_column(Uuid)
    reason: Mapped[str | None] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(Document)

    __table_args__ = (
        Index("ix_audit_entries_subject_id", "subject", "id"),
        Index("ix_audit_entries_actor_id", "actor", "id"),
    )
