"""Notices: what readers are to be told, an outbox written in the transaction of what they tell."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Document, Key, UtcDateTime
from app.core.schemas import JsonObject


class Kind(StrEnum):
    BOOKING_READY = "booking_ready"
    BOOKING_EXPIRED = "booking_expired"
    DUE_SOON = "due_soon"
    OVERDUE_1 = "overdue_1"
    OVERDUE_2 = "overdue_2"
    OVERDUE_3 = "overdue_3"
    RECALL = "recall"


class State(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    DROPPED = "dropped"
    FAILED = "failed"


class Notice(Base):
    """One thing to tell one reader. `cause` is told once, whatever happens.

    Its id is the Message-ID's unique half, so a second attempt is recognisable as such. `payload` holds the facts of
    the letter and is emptied as soon as they are no longer needed. A pending notice is due at `next_attempt_at`;
    whoever takes it moves that on first, so that nobody else does.
    """

    __tablename__ = "notices"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    cause: Mapped[str] = mapped_column(Key, unique=True)
    kind: Mapped[str] = mapped_column(String(32))
    reader_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    payload: Mapped[JsonObject] = mapped_column(Document)
    state: Mapped[str] = mapped_column(String(8))
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'sent', 'dropped', 'failed')", name="state"),
        Index(
            "ix_notices_due",
            "next_attempt_at",
            "id",
            postgresql_where=text("state = 'pending'"),
            sqlite_where=text("state = 'pending'"),
        ),
    )
