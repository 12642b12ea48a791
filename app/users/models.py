"""Users: accounts with a role; as readers they have a card, as staff they have branches."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Key, UtcDateTime


class Role(StrEnum):
    READER = "reader"
    LIBRARIAN = "librarian"
    ADMIN = "admin"


class User(Base):
    """An account. `email` is stored in the form by which it is compared; `card_number` is what the desk scans."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    version: Mapped[int]
    # What stands for the account where its traces outlive it (ledger, audit); erasing the row destroys the key.
    pseudonym: Mapped[UUID] = mapped_column(Uuid, unique=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    full_name: Mapped[str] = mapped_column(String(200))
    name_key: Mapped[str] = mapped_column(Key, server_default="")
    role: Mapped[str] = mapped_column(String(16))
    locale: Mapped[str] = mapped_column(String(8))
    card_number: Mapped[str] = mapped_column(String(32), unique=True)
    category: Mapped[str] = mapped_column(String(32))
    home_branch_id: Mapped[str | None] = mapped_column(ForeignKey("branches.id"))
    expires_on: Mapped[date | None]
    blocked_reason: Mapped[str | None] = mapped_column(String(200))
    keeps_history: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (CheckConstraint("role IN ('reader', 'librarian', 'admin')", name="role"),)


class StaffBranch(Base):
    """A branch in which a librarian keeps copies, calendars and policies."""

    __tablename__ = "staff_branches"

    user_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branches.id"), primary_key=True)
