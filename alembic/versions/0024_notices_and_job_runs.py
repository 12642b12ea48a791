"""Notices, an outbox of what readers are to be told; the runs of jobs.

Revision: 0024
Revises: 0023

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

from app.core.db import Document, Key, UtcDateTime

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_runs",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("last_started_at", UtcDateTime(), nullable=False),
        sa.Column("last_finished_at", UtcDateTime(), nullable=True),
        sa.Column("last_success_at", UtcDateTime(), nullable=True),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.Column("result", Document, nullable=False),
        sa.Column("totals", Document, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("lease_holder", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_runs")),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cause", Key, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("reader_id", sa.Uuid(), nullable=False),
        sa.Column("payload", Document, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'sent', 'dropped', 'failed')", name=op.f("ck_notices_state")),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["users.id"], name=op.f("fk_notices_reader_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("cause", name=op.f("uq_notices_cause")),
    )
    op.create_index(
        "ix_notices_due",
        "notices",
        ["next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_index(op.f("ix_notices_reader_id"), "notices", ["reader_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_notices_reader_id"), "notices")
    op.drop_index("ix_notices_due", "notices")
    op.drop_table("notices")
    op.drop_table("job_runs")
