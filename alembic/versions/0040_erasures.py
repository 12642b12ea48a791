"""Erased accounts: the outbox of the erasure ledger, and a ledger of money whose notes may be emptied.

Revision: 0040
Revises: 0031

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

from app.core.db import UtcDateTime

revision = "0040"
down_revision = "0031"
branch_labels = None
depends_on = None

# SQLite compares column by column; a column that a later migration adds must be added to its trigger too.
FROZEN = (
    "id", "subject", "number", "kind", "reason", "amount_minor", "balance_minor", "settles_id", "branch_id",
    "created_at", "actor",
)  # fmt: skip
FADING = ("loan_id", "note")


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("pseudonym", sa.Uuid(), nullable=False),
        sa.Column("erased_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("pseudonym", name=op.f("pk_erasures")),
    )
    if op.get_bind().dialect.name == "postgresql":
        same = "NEW.loan_id IS NOT DISTINCT FROM OLD.loan_id AND NEW.note IS NOT DISTINCT FROM OLD.note"
        _on_postgres(
            "to_jsonb(NEW) - 'loan_id' - 'note' = to_jsonb(OLD) - 'loan_id' - 'note'"
            " AND (NEW.loan_id IS NULL OR NEW.loan_id = OLD.loan_id)"
            f" AND (NEW.note IS NULL OR NEW.note = OLD.note) AND NOT ({same})"
        )
        return
    changed = [f"new.{column} IS NOT old.{column}" for column in FROZEN]
    rewritten = [f"(new.{column} IS NOT NULL AND new.{column} IS NOT old.{column})" for column in FADING]
    nothing = " AND ".join(f"new.{column} IS old.{column}" for column in FADING)
    _on_sqlite(" OR ".join([*changed, *rewritten, f"({nothing})"]))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _on_postgres("NEW.loan_id IS NULL AND to_jsonb(NEW) - 'loan_id' = to_jsonb(OLD) - 'loan_id'")
    else:
        changed = [f"new.{column} IS NOT old.{column}" for column in (*FROZEN, "note")]
        _on_sqlite(" OR ".join(["new.loan_id IS NOT NULL", *changed]))
    op.drop_table("erasures")


def _on_postgres(allowed: str) -> None:
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF {allowed} THEN
                    RETURN NEW;
                END IF;
            END IF;
            RAISE EXCEPTION 'the ledger only grows' USING ERRCODE = 'restrict_violation';
        END $$
        """
    )


def _on_sqlite(refused: str) -> None:
    op.execute("DROP TRIGGER ledger_entries_frozen")
    op.execute(
        "CREATE TRIGGER ledger_entries_frozen BEFORE UPDATE ON ledger_entries"
        f" WHEN {refused} BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END"
    )
