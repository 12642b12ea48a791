"""Alembic's environment: runs on the connection that `app.core.migrations` hands over."""

from typing import Any

from alembic import context
from sqlalchemy import Connection

from app.audit import models as audit
from app.auth import models as auth
from app.bookings import models as bookings
from app.books import models as books
from app.branches import models as branches
from app.charges import models as charges
from app.copies import models as copies
from app.core import job_runs
from app.core.db import Base
from app.erasure import models as erasure
from app.idempotency import models as idempotency
from app.imports import models as imports
from app.loans import models as loans
from app.notifications import models as notifications
from app.policies import models as policies
from app.uploads import models as uploads
from app.users import models as users

# Imported so that Base.metadata knows every table.
FEATURES = (
    audit,
    auth,
    bookings,
    books,
    branches,
    charges,
    copies,
    erasure,
    idempotency,
    imports,
    job_runs,
    loans,
    notifications,
    policies,
    uploads,
    users,
)
FULL_TEXT = ("book_terms", "ix_book_terms")


def include_name(name: str | None, type_: str, _parents: Any) -> bool:
    """Full-text tables and indexes differ between the databases and are kept by the migrations alone."""
    return not (type_ in {"table", "index"} and (name or "").startswith(FULL_TEXT))


def run(connection: Connection) -> None:
    is_postgres = connection.dialect.name == "postgresql"
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=include_name,
        compare_type=True,
        user_module_prefix="",
        render_as_batch=not is_postgres,
        # What one migration locked is free again before the next begins, and one that fails undoes itself alone.
        transaction_per_migration=is_postgres,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
