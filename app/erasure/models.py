"""Erased accounts whose pseudonym the erasure ledger does not know yet."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, UtcDateTime


class Erasure(Base):
    """Written in the transaction that erased the account; gone once the ledger, outside the database, has it."""

    __tablename__ = "erasures"

    pseudonym: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    erased_at: Mapped[datetime] = mapped_column(UtcDateTime)
