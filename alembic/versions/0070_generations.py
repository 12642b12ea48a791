"""Numbers that say how often the catalogue changed, by which kept answers are known to be true.

Revision: 0070
Revises: 0060

Expand first, contract in a later release: the old code must run against this schema. The environment sets
lock_timeout; keep statements that lock a table short.
"""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    generations = op.create_table(
        "generations",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_generations")),
    )
    op.bulk_insert(generations, [{"name": "catalogue", "number": 0}])


def downgrade() -> None:
    op.drop_table("generations")
