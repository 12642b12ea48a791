"""Calendars of branches, two more terms of policies, and the ledger, which only grows.

Revision: 0021
Revises: 0020

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

from app.core.db import Document, UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ALWAYS_OPEN = '{"open_weekdays": [1, 2, 3, 4, 5, 6, 7], "exceptions": []}'
# SQLite compares column by column; a column that a later migration adds must be added to its trigger too.
FROZEN = (
    "id", "subject", "number", "kind", "reason", "amount_minor", "balance_minor", "settles_id", "branch_id",
    "created_at", "actor", "note",
)  # fmt: skip


def upgrade() -> None:
    op.add_column("branches", sa.Column("calendar", Document, server_default=ALWAYS_OPEN, nullable=False))
    # With the check beside the column both databases add it in place; Alembic's way would copy SQLite's table and lose
    # its other checks.
    for column, default, check in (("lost_fee_minor", 0, "lost_fee"), ("minimum_loan_days", 7, "minimum_loan")):
        op.execute(
            f"ALTER TABLE policies ADD COLUMN {column} INTEGER NOT NULL DEFAULT {default}"
            f" CONSTRAINT ck_policies_{check} CHECK ({column} >= 0)"
        )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("settles_id", sa.Uuid(), nullable=True),
        sa.Column("loan_id", sa.Uuid(), nullable=True),
        sa.Column("branch_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("(kind = 'charge') = (settles_id IS NULL)", name=op.f("ck_ledger_entries_settles")),
        sa.CheckConstraint(
            "kind IN ('charge', 'payment', 'waiver', 'refund', 'reversal')", name=op.f("ck_ledger_entries_kind")
        ),
        sa.CheckConstraint(
            "reason IN ('overdue', 'lost', 'lost_fee', 'fee', 'damage', 'other')",
            name=op.f("ck_ledger_entries_reason"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_ledger_entries_amount")),
        sa.CheckConstraint("number > 0", name=op.f("ck_ledger_entries_number")),
        sa.ForeignKeyConstraint(["branch_id"], ["branches.id"], name=op.f("fk_ledger_entries_branch_id_branches")),
        sa.ForeignKeyConstraint(
            ["settles_id"], ["ledger_entries.id"], name=op.f("fk_ledger_entries_settles_id_ledger_entries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("subject", "number", name=op.f("uq_ledger_entries_subject_number")),
    )
    op.create_index(op.f("ix_ledger_entries_loan_id"), "ledger_entries", ["loan_id"], unique=False)
    op.create_index(op.f("ix_ledger_entries_settles_id"), "ledger_entries", ["settles_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        _freeze_on_postgres()
    else:
        _freeze_on_sqlite()


def _freeze_on_postgres() -> None:
    op.execute(
        """
        CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF NEW.loan_id IS NULL AND to_jsonb(NEW) - 'loan_id' = to_jsonb(OLD) - 'loan_id' THEN
                    RETURN NEW;
                END IF;
            END IF;
            RAISE EXCEPTION 'the ledger only grows' USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_frozen BEFORE UPDATE OR DELETE ON ledger_entries"
        " FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change()"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_kept BEFORE TRUNCATE ON ledger_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()"
    )


def _freeze_on_sqlite() -> None:
    refuse = "BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END"
    changed = " OR ".join(f"new.{column} IS NOT old.{column}" for column in FROZEN)
    op.execute(
        "CREATE TRIGGER ledger_entries_frozen BEFORE UPDATE ON ledger_entries"
        f" WHEN new.loan_id IS NOT NULL OR {changed} {refuse}"
    )
    op.execute(f"CREATE TRIGGER ledger_entries_kept BEFORE DELETE ON ledger_entries {refuse}")


def downgrade() -> None:
    op.drop_table("ledger_entries")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_ledger_change()")
    for column in ("minimum_loan_days", "lost_fee_minor"):
        op.drop_column("policies", column)
    op.drop_column("branches", "calendar")
