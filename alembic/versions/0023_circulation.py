"""Circulation: bookings, loans, the desk's scans, idempotency keys.

Revision: 0023
Revises: 0021

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

from app.core.db import BigId, Document, UtcDateTime

revision = "0023"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reader_id", sa.Uuid(), nullable=True),
        sa.Column("book_id", BigId, nullable=False),
        sa.Column("copy_id", BigId, nullable=True),
        sa.Column("pickup_branch_id", sa.String(length=32), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("pickup_until", UtcDateTime(), nullable=True),
        sa.Column("suspended_until", sa.Date(), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("(status = 'ready') = (pickup_until IS NOT NULL)", name=op.f("ck_bookings_pickup")),
        sa.CheckConstraint(
            "(status IN ('allocated', 'ready')) = (copy_id IS NOT NULL)", name=op.f("ck_bookings_promise")
        ),
        sa.CheckConstraint(
            "(status IN ('fulfilled', 'cancelled', 'expired')) = (closed_at IS NOT NULL)",
            name=op.f("ck_bookings_closed"),
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'suspended', 'allocated', 'ready', 'fulfilled', 'cancelled', 'expired')",
            name=op.f("ck_bookings_status"),
        ),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_bookings_book_id_books")),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name=op.f("fk_bookings_copy_id_copies")),
        sa.ForeignKeyConstraint(
            ["pickup_branch_id"], ["branches.id"], name=op.f("fk_bookings_pickup_branch_id_branches")
        ),
        sa.ForeignKeyConstraint(["reader_id"], ["users.id"], name=op.f("fk_bookings_reader_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bookings")),
    )
    op.create_index("ix_bookings_book_id", "bookings", ["book_id"], unique=False)
    op.create_index(
        "ix_bookings_pickup_branch_id_status", "bookings", ["pickup_branch_id", "status", "id"], unique=False
    )
    op.create_index(
        "ix_bookings_queue",
        "bookings",
        ["book_id", "priority", "placed_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'waiting'"),
        sqlite_where=sa.text("status = 'waiting'"),
    )
    op.create_index("ix_bookings_reader_id_id", "bookings", ["reader_id", "id"], unique=False)
    op.create_index("ix_bookings_status_pickup_until", "bookings", ["status", "pickup_until"], unique=False)
    op.create_index(
        "uq_bookings_copy_id",
        "bookings",
        ["copy_id"],
        unique=True,
        postgresql_where=sa.text("copy_id IS NOT NULL"),
        sqlite_where=sa.text("copy_id IS NOT NULL"),
    )
    op.create_index(
        "uq_bookings_reader_id_book_id",
        "bookings",
        ["reader_id", "book_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('waiting', 'suspended', 'allocated', 'ready')"),
        sqlite_where=sa.text("status IN ('waiting', 'suspended', 'allocated', 'ready')"),
    )

    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", Document, nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_index(op.f("ix_idempotency_keys_user_id"), "idempotency_keys", ["user_id"], unique=False)

    op.create_table(
        "loans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("copy_id", BigId, nullable=False),
        sa.Column("book_id", BigId, nullable=False),
        sa.Column("reader_id", sa.Uuid(), nullable=True),
        sa.Column("branch_id", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("checked_out_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("returned_at", UtcDateTime(), nullable=True),
        sa.Column("claimed_returned_at", UtcDateTime(), nullable=True),
        sa.Column("recalled_at", UtcDateTime(), nullable=True),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.Column("terms", Document, nullable=False),
        sa.CheckConstraint("(status = 'returned') = (returned_at IS NOT NULL)", name=op.f("ck_loans_returned")),
        sa.CheckConstraint("status <> 'open' OR reader_id IS NOT NULL", name=op.f("ck_loans_reader")),
        sa.CheckConstraint("status IN ('open', 'returned', 'lost')", name=op.f("ck_loans_status")),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_loans_book_id_books")),
        sa.ForeignKeyConstraint(["branch_id"], ["branches.id"], name=op.f("fk_loans_branch_id_branches")),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name=op.f("fk_loans_copy_id_copies")),
        sa.ForeignKeyConstraint(["reader_id"], ["users.id"], name=op.f("fk_loans_reader_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loans")),
    )
    op.create_index("ix_loans_book_id_status", "loans", ["book_id", "status", "due_at"], unique=False)
    op.create_index("ix_loans_copy_id_id", "loans", ["copy_id", "id"], unique=False)
    op.create_index(
        "ix_loans_due_at_open",
        "loans",
        ["due_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.create_index("ix_loans_reader_id_id", "loans", ["reader_id", "id"], unique=False)
    op.create_index(
        "ix_loans_reader_id_open",
        "loans",
        ["reader_id"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.create_index(
        "uq_loans_copy_id",
        "loans",
        ["copy_id"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )

    op.create_table(
        "scans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("copy_id", BigId, nullable=False),
        sa.Column("scanned_at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("before", Document, nullable=False),
        sa.Column("undone_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("kind IN ('lend', 'return')", name=op.f("ck_scans_kind")),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name=op.f("fk_scans_copy_id_copies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scans")),
    )
    op.create_index("ix_scans_copy_id_id", "scans", ["copy_id", "id"], unique=False)
    op.create_index("ix_scans_scanned_at", "scans", ["scanned_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_scans_scanned_at", "scans")
    op.drop_index("ix_scans_copy_id_id", "scans")

    op.drop_table("scans")
    op.drop_index(
        "uq_loans_copy_id",
        "loans",
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.drop_index(
        "ix_loans_reader_id_open",
        "loans",
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.drop_index("ix_loans_reader_id_id", "loans")
    op.drop_index(
        "ix_loans_due_at_open",
        "loans",
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.drop_index("ix_loans_copy_id_id", "loans")
    op.drop_index("ix_loans_book_id_status", "loans")

    op.drop_table("loans")
    op.drop_index(op.f("ix_idempotency_keys_user_id"), "idempotency_keys")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys")

    op.drop_table("idempotency_keys")
    op.drop_index(
        "uq_bookings_reader_id_book_id",
        "bookings",
        postgresql_where=sa.text("status IN ('waiting', 'suspended', 'allocated', 'ready')"),
        sqlite_where=sa.text("status IN ('waiting', 'suspended', 'allocated', 'ready')"),
    )
    op.drop_index(
        "uq_bookings_copy_id",
        "bookings",
        postgresql_where=sa.text("copy_id IS NOT NULL"),
        sqlite_where=sa.text("copy_id IS NOT NULL"),
    )
    op.drop_index("ix_bookings_status_pickup_until", "bookings")
    op.drop_index("ix_bookings_reader_id_id", "bookings")
    op.drop_index(
        "ix_bookings_queue",
        "bookings",
        postgresql_where=sa.text("status = 'waiting'"),
        sqlite_where=sa.text("status = 'waiting'"),
    )
    op.drop_index("ix_bookings_pickup_branch_id_status", "bookings")
    op.drop_index("ix_bookings_book_id", "bookings")

    op.drop_table("bookings")
