"""Indexes by which circulation reads only what is open, however much history there is.

Revision: 0042
Revises: 0041

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

PARTIAL = (
    ("ix_bookings_id_open", "bookings", ["id"], "status IN ('waiting', 'suspended', 'allocated', 'ready')"),
    ("ix_bookings_pickup_until_ready", "bookings", ["pickup_until"], "status = 'ready'"),
    ("ix_bookings_suspended_until", "bookings", ["suspended_until", "id"], "status = 'suspended'"),
    ("ix_copies_at_branch_id_reserved", "copies", ["at_branch_id"], "status = 'reserved'"),
)


def upgrade() -> None:
    op.create_index("ix_bookings_book_id_placed_at", "bookings", ["book_id", "placed_at"])
    op.drop_index("ix_bookings_book_id", table_name="bookings")
    for name, table, columns, where in PARTIAL:
        condition = sa.text(where)
        op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)
    op.drop_index("ix_bookings_status_pickup_until", table_name="bookings")


def downgrade() -> None:
    op.create_index("ix_bookings_status_pickup_until", "bookings", ["status", "pickup_until"])
    for name, table, _, _ in PARTIAL:
        op.drop_index(name, table_name=table)
    op.create_index("ix_bookings_book_id", "bookings", ["book_id"])
    op.drop_index("ix_bookings_book_id_placed_at", table_name="bookings")
