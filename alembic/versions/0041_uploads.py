"""Uploads: covers of books and documents of readers.

Revision: 0041
Revises: 0040

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

from app.core.db import BigId, Document, UtcDateTime

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    covers, documents = sa.text("kind = 'cover'"), sa.text("kind = 'document'")
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("book_id", BigId, nullable=True),
        sa.Column("file_name", sa.String(length=200), nullable=False),
        sa.Column("media_type", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("variants", Document, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('cover', 'document')", name=op.f("ck_uploads_kind")),
        sa.CheckConstraint("(kind = 'cover') = (book_id IS NOT NULL)", name=op.f("ck_uploads_book")),
        sa.CheckConstraint("kind = 'cover' OR owner_id IS NOT NULL", name=op.f("ck_uploads_owner")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_uploads_owner_id_users")),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_uploads_book_id_books")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_owner_id_id", "uploads", ["owner_id", "id"])
    op.create_index(
        "uq_uploads_book_id", "uploads", ["book_id"], unique=True, postgresql_where=covers, sqlite_where=covers
    )
    op.create_index(
        "uq_uploads_owner_id_digest",
        "uploads",
        ["owner_id", "digest"],
        unique=True,
        postgresql_where=documents,
        sqlite_where=documents,
    )


def downgrade() -> None:
    op.drop_table("uploads")
