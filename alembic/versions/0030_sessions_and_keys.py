"""Sessions in families with idle and final end, API keys, tokens that go out by mail, disabled accounts, names to look up.

Revision: 0030
Revises: 0024

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

from app.core.db import Document, Key, UtcDateTime

revision = "0030"
down_revision = "0024"
branch_labels = None
depends_on = None

NEW_USER_COLUMNS = ("email_verified_at", "disabled_at")
NEW_SESSION_COLUMNS = (
    "kind", "family_digest", "previous_digest", "verified_at", "has_second_factor", "ends_at", "device", "address",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", Document, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
    )
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"])
    op.create_table(
        "mail_tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("payload", Document, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_mail_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_mail_tokens")),
    )
    op.create_index(op.f("ix_mail_tokens_expires_at"), "mail_tokens", ["expires_at"])
    op.create_index(op.f("ix_mail_tokens_user_id"), "mail_tokens", ["user_id"])

    with op.batch_alter_table("sessions") as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=8), server_default="token", nullable=False))
        batch_op.add_column(sa.Column("family_digest", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("previous_digest", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("verified_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("has_second_factor", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("ends_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("device", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("address", sa.String(length=45), nullable=True))
        batch_op.alter_column("refresh_digest", existing_type=sa.String(length=64), nullable=True)
        batch_op.create_index(batch_op.f("ix_sessions_expires_at"), ["expires_at"], unique=False)
        batch_op.create_unique_constraint(batch_op.f("uq_sessions_family_digest"), ["family_digest"])
        batch_op.create_check_constraint(batch_op.f("ck_sessions_kind"), "kind IN ('token', 'cookie')")

    # Not in batch mode: SQLite would build the table anew, and dropping the old one would delete all that hangs on it.
    for name in NEW_USER_COLUMNS:
        op.add_column("users", sa.Column(name, UtcDateTime(), nullable=True))
    op.add_column("users", sa.Column("name_key", Key, server_default="", nullable=False))
    op.execute("UPDATE users SET name_key = lower(full_name)")


def downgrade() -> None:
    for name in (*NEW_USER_COLUMNS, "name_key"):
        op.drop_column("users", name)
    op.execute("DELETE FROM sessions WHERE refresh_digest IS NULL")
    with op.batch_alter_table("sessions") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_sessions_kind"), type_="check")
        batch_op.drop_constraint(batch_op.f("uq_sessions_family_digest"), type_="unique")
        batch_op.drop_index(batch_op.f("ix_sessions_expires_at"))
        batch_op.alter_column("refresh_digest", existing_type=sa.String(length=64), nullable=False)
        for name in NEW_SESSION_COLUMNS:
            batch_op.drop_column(name)
    op.drop_table("mail_tokens")
    op.drop_table("api_keys")
