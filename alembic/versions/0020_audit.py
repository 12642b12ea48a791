"""Events and audit entries: what happened, and who did it.

Revision: 0020
Revises: 0011

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

from app.core.db import BigId, Document, UtcDateTime
from app.core.functions import transaction_number

revision = "0020"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("actor_role", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("data", Document, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_actor_id", "audit_entries", ["actor", "id"], unique=False)
    op.create_index("ix_audit_entries_subject_id", "audit_entries", ["subject", "id"], unique=False)

    op.create_table(
        "events",
        sa.Column("id", BigId, sa.Identity(always=False), nullable=False),
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("transaction", sa.BigInteger(), server_default=transaction_number(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("happened_at", UtcDateTime(), nullable=False),
        sa.Column("book_id", BigId, nullable=True),
        sa.Column("copy_id", BigId, nullable=True),
        sa.Column("booking_id", sa.Uuid(), nullable=True),
        sa.Column("loan_id", sa.Uuid(), nullable=True),
        sa.Column("branch_id", sa.String(length=32), nullable=True),
        sa.Column("data", Document, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("change_id", name=op.f("uq_events_change_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_book_id_id", "events", ["book_id", "id"], unique=False)
    op.create_index("ix_events_copy_id_id", "events", ["copy_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_events_copy_id_id", "events")
    op.drop_index("ix_events_book_id_id", "events")

    op.drop_table("events")
    op.drop_index("ix_audit_entries_subject_id", "audit_entries")
    op.drop_index("ix_audit_entries_actor_id", "audit_entries")

    op.drop_table("audit_entries")
