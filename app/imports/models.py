"""Imports: files given to the service, how far each has come, and what became of every record."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Document, UtcDateTime
from app.imports.schemas import ImportStatus

_STATUSES = ", ".join(f"'{status}'" for status in ImportStatus)


class ImportJob(Base):
    """A stored file on its way into the catalogue.

    `position` and `counts` change in the transaction that writes the records, so that a job which is taken up again
    goes on exactly where it stopped. Whoever runs it holds it until `lease_until`; `attempt` tells runners apart.
    """

    __tablename__ = "import_jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(String(16))
    file_name: Mapped[str] = mapped_column(String(200))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))
    format: Mapped[str | None] = mapped_column(String(16))
    source_name: Mapped[str | None] = mapped_column(String(64))
    branch_id: Mapped[str | None] = mapped_column(ForeignKey("branches.id"))
    overwrite: Mapped[bool]
    dry_run: Mapped[bool]
    position: Mapped[int]
    counts: Mapped[dict[str, Any]] = mapped_column(Document)
    problem_code: Mapped[str | None] = mapped_column(String(64))
    problem_detail: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int]
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        Index("ix_import_jobs_status_created_at", "status", "created_at"),
    )


class ImportVerdict(Base):
    """What became of one record of an import; `told` is its RecordVerdict."""

    __tablename__ = "import_verdicts"

    import_id: Mapped[UUID] = mapped_column(ForeignKey("import_jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    verdict: Mapped[str] = mapped_column(String(24))
    told: Mapped[dict[str, Any]] = mapped_column(Document)

    __table_args__ = (Index("ix_import_verdicts_verdict", "import_id", "verdict", "position"),)
