"""Alembic's environment: runs on the connection that `app.core.migrations` hands over."""

from typing import Any

from alembic import context
from sqlalchemy import Connection, text

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
MIGRATION_LOCK = 7_301_550_612
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
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        if is_postgres:
            # One migration at a time; a migration waits at most this long for a table that is in use, rather than
            # make every reader behind it wait.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            # A machine that is busy may take long between two statements.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
        context.run_migrations()


run(context.config.attributes["connection"])
