"""How old a job's last success may become before somebody should be told.

Revision: 0060
Revises: 0042

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job_runs", sa.Column("max_age_seconds", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("job_runs", "max_age_seconds")
