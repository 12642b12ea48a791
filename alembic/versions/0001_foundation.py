"""The foundation: books, copies, branches, policies, users, sessions; full text for each database.

Revision: 0001
Revises:

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from app.core.db import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "books",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_key", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("year", sa.Integer(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("search_terms", sa.Text(), nullable=False),
        sa.Column("suppressed", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column("merged_into_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(["merged_into_id"], ["books.id"], name=op.f("fk_books_merged_into_id_books")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_books")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("books", schema=None) as batch_op:
        batch_op.create_index("ix_books_title_key_id", ["title_key", "id"], unique=False)
        batch_op.create_index("ix_books_year_id", ["year", "id"], unique=False)

    op.create_table(
        "branches",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branches")),
    )
    op.create_table(
        "access_points",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("book_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name=op.f("fk_access_points_book_id_books"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("kind", "key", "book_id", name=op.f("pk_access_points")),
    )
    with op.batch_alter_table("access_points", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_access_points_book_id"), ["book_id"], unique=False)

    op.create_table(
        "copies",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("book_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("barcode", sa.String(length=64), nullable=False),
        sa.Column("call_number", sa.String(length=200), nullable=True),
        sa.Column("branch_id", sa.String(length=32), nullable=False),
        sa.Column("at_branch_id", sa.String(length=32), nullable=False),
        sa.Column("transit_to_id", sa.String(length=32), nullable=True),
        sa.Column("shelf_location", sa.String(length=200), nullable=True),
        sa.Column("item_type", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("price_minor", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('available', 'reserved', 'on_hold_shelf', 'in_transit', 'on_loan', 'lost', 'in_repair', 'missing', 'withdrawn')",
            name=op.f("ck_copies_status"),
        ),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_copies_price")),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name=op.f("fk_copies_book_id_books")),
        sa.CheckConstraint("(status = 'in_transit') = (transit_to_id IS NOT NULL)", name=op.f("ck_copies_transit")),
        sa.ForeignKeyConstraint(["at_branch_id"], ["branches.id"], name=op.f("fk_copies_at_branch_id_branches")),
        sa.ForeignKeyConstraint(["transit_to_id"], ["branches.id"], name=op.f("fk_copies_transit_to_id_branches")),
        sa.ForeignKeyConstraint(["branch_id"], ["branches.id"], name=op.f("fk_copies_branch_id_branches")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_copies")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("copies", schema=None) as batch_op:
        batch_op.create_index("ix_copies_book_id_status", ["book_id", "status"], unique=False)
        batch_op.create_index("ix_copies_branch_id_status", ["branch_id", "status"], unique=False)
        batch_op.create_index(
            "uq_copies_barcode",
            ["barcode"],
            unique=True,
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )

    op.create_table(
        "policies",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=True),
        sa.Column("item_type", sa.String(length=32), nullable=True),
        sa.Column("branch_id", sa.String(length=32), nullable=True),
        sa.Column("loan_days", sa.Integer(), nullable=False),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.Column("loan_limit", sa.Integer(), nullable=False),
        sa.Column("booking_limit", sa.Integer(), nullable=False),
        sa.Column("pickup_days", sa.Integer(), nullable=False),
        sa.Column("fine_per_day_minor", sa.Integer(), nullable=False),
        sa.Column("fine_cap_minor", sa.Integer(), nullable=False),
        sa.Column("case_key", sa.String(length=98), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "loan_days >= 0 AND renewals >= 0 AND loan_limit >= 0 AND booking_limit >= 0 AND pickup_days > 0 AND fine_per_day_minor >= 0 AND fine_cap_minor >= 0",
            name=op.f("ck_policies_sane"),
        ),
        sa.ForeignKeyConstraint(["branch_id"], ["branches.id"], name=op.f("fk_policies_branch_id_branches")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.UniqueConstraint("case_key", name=op.f("uq_policies_case_key")),
    )
    op.create_table(
        "source_records",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("book_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("control_number", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("imported_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name=op.f("fk_source_records_book_id_books"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_records")),
    )
    with op.batch_alter_table("source_records", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_source_records_book_id"), ["book_id"], unique=False)
        batch_op.create_index("uq_source_records_source_control_number", ["source", "control_number"], unique=True)

    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("pseudonym", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("full_name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("locale", sa.String(length=8), nullable=False),
        sa.Column("card_number", sa.String(length=32), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=False),
        sa.Column("home_branch_id", sa.String(length=32), nullable=True),
        sa.Column("expires_on", sa.Date(), nullable=True),
        sa.Column("blocked_reason", sa.String(length=200), nullable=True),
        sa.Column("keeps_history", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("role IN ('reader', 'librarian', 'admin')", name=op.f("ck_users_role")),
        sa.ForeignKeyConstraint(["home_branch_id"], ["branches.id"], name=op.f("fk_users_home_branch_id_branches")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("card_number", name=op.f("uq_users_card_number")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_users_pseudonym")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("refresh_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("refreshed_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("refresh_digest", name=op.f("uq_sessions_refresh_digest")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sessions_user_id"), ["user_id"], unique=False)

    op.create_table(
        "staff_branches",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("branch_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["branch_id"], ["branches.id"], name=op.f("fk_staff_branches_branch_id_branches")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_staff_branches_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "branch_id", name=op.f("pk_staff_branches")),
    )

    _create_full_text()
    # A copy needs nothing but a barcode: there is always a branch for it to stand in.
    branches = sa.table(
        "branches", sa.column("id"), sa.column("version"), sa.column("name"), sa.column("created_at", UtcDateTime())
    )
    op.execute(branches.insert().values(id="main", version=1, name="Main library", created_at=datetime.now(UTC)))


def _create_full_text() -> None:
    """Index what the analyser in Python wrote: PostgreSQL by its `simple` configuration, SQLite by FTS5."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX ix_books_search_terms ON books USING gin (to_tsvector('simple', search_terms))")
        return
    op.execute(
        "CREATE VIRTUAL TABLE books_fts USING fts5(search_terms, content='books', content_rowid='id',"
        " tokenize='unicode61 remove_diacritics 0', prefix='2 3')"
    )
    add = "INSERT INTO books_fts(rowid, search_terms) VALUES (new.id, new.search_terms);"
    drop = "INSERT INTO books_fts(books_fts, rowid, search_terms) VALUES ('delete', old.id, old.search_terms);"
    op.execute(f"CREATE TRIGGER books_fts_insert AFTER INSERT ON books BEGIN {add} END")
    op.execute(f"CREATE TRIGGER books_fts_delete AFTER DELETE ON books BEGIN {drop} END")
    op.execute(f"CREATE TRIGGER books_fts_update AFTER UPDATE OF search_terms ON books BEGIN {drop} {add} END")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE books_fts")
    op.drop_table("staff_branches")
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sessions_user_id"))

    op.drop_table("sessions")
    op.drop_table("users")
    with op.batch_alter_table("source_records", schema=None) as batch_op:
        batch_op.drop_index("uq_source_records_source_control_number")
        batch_op.drop_index(batch_op.f("ix_source_records_book_id"))

    op.drop_table("source_records")
    op.drop_table("policies")
    with op.batch_alter_table("copies", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_copies_barcode",
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.drop_index("ix_copies_branch_id_status")
        batch_op.drop_index("ix_copies_book_id_status")

    op.drop_table("copies")
    with op.batch_alter_table("access_points", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_access_points_book_id"))

    op.drop_table("access_points")
    op.drop_table("branches")
    with op.batch_alter_table("books", schema=None) as batch_op:
        batch_op.drop_index("ix_books_year_id")
        batch_op.drop_index("ix_books_title_key_id")

    op.drop_table("books")
