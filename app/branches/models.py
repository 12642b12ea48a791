"""Branches: places with a desk, each in its time zone."""

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Document, UtcDateTime

ALWAYS_OPEN: Final[dict[str, Any]] = {"open_weekdays": [1, 2, 3, 4, 5, 6, 7], "exceptions": []}


class Branch(Base):
    """A branch. Its id is a short code that stands on slips, in URLs and in MARC holdings; it never changes."""

    __tablename__ = "branches"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    name: Mapped[str] = mapped_column(String(200))
    timezone: Mapped[str | None] = mapped_column(String(64))
    # {open_weekdays: [1…7], exceptions: [{on, is_open, note}]}
    calendar: Mapped[dict[str, Any]] = mapped_column(Document, server_default=json.dumps(ALWAYS_OPEN))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
