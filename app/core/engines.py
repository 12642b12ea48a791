"""Engines: how connections to PostgreSQL and SQLite are made, and what each of them is told at its start."""

import ssl
from typing import Any, Final

from sqlalchemy import event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.core.config import Settings

POOL_TIMEOUT_SECONDS: Final = 2
CONNECT_TIMEOUT_SECONDS: Final = 3
SQLITE_BUSY_TIMEOUT_MS: Final = 5_000
SQLITE_READERS: Final = 4
POSTGRES_CONNECTIONS: Final = 8
TLS_FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey"})
POSTGRES_LIMITS: Final = {
    "statement_timeout": "2000",
    "lock_timeout": "1000",
    "idle_in_transaction_session_timeout": "5000",
    "timezone": "UTC",
    "jit": "off",
}
# Said to the session that migrates. Each statement may take its time, and so may a busy machine between two; a table
# in use is waited for so long only that nobody notices who waits behind the migration.
FOR_MIGRATIONS: Final = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET lock_timeout = '200ms'",
)
# Asked for again and again: who waits inside a statement holds a snapshot, for which CREATE INDEX CONCURRENTLY waits.
MIGRATION_LOCK: Final = "SELECT pg_try_advisory_lock(7301550612)"
MIGRATION_PAUSE_SECONDS: Final = 0.2


def database_url(settings: Settings) -> tuple[URL, bool]:
    """The URL in SQLAlchemy's spelling, and whether a PgBouncer in transaction mode stands before the server.

    Accepts what platforms hand out (`postgres://…?sslmode=require`) and rewrites it for asyncpg.
    """
    if settings.database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(settings.data_dir.absolute() / "library.db")), False
    url = make_url(settings.database_url.get_secret_value())
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite+aiosqlite"), False
    query = dict(url.query)
    through_pgbouncer = query.pop("pgbouncer", "false") == "true"
    if "sslmode" in query and TLS_FILES.isdisjoint(query):
        query["ssl"] = query.pop("sslmode")
    return url.set(drivername="postgresql+asyncpg", query=query), through_pgbouncer


def postgres_engine(url: URL, *, through_pgbouncer: bool) -> AsyncEngine:
    # A PgBouncer in transaction mode knows neither prepared statements of a session nor its settings: there the
    # limits belong to the role (scripts/init-db.sql).
    connect_args: dict[str, Any] = {"timeout": CONNECT_TIMEOUT_SECONDS}
    if not TLS_FILES.isdisjoint(url.query):
        connect_args["ssl"] = _tls({name: str(value) for name, value in url.query.items()})
        url = url.difference_update_query(TLS_FILES | {"sslmode"})
    if through_pgbouncer:
        connect_args |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    else:
        connect_args["server_settings"] = {"application_name": "library", **POSTGRES_LIMITS}
    return create_async_engine(
        url,
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text goes to the logs; names, addresses and hashes must not
        connect_args=connect_args,
    )


def _tls(query: dict[str, str]) -> ssl.SSLContext:
    """TLS without a way around it, by the files that the URL names as libpq does: whom to trust, and who we are.

    The server's name is looked at too unless `sslmode=verify-ca` says that the authority alone counts.
    """
    context = ssl.create_default_context(cafile=query.get("sslrootcert"))
    context.check_hostname = query.get("sslmode") != "verify-ca"
    if "sslcert" in query:
        context.load_cert_chain(query["sslcert"], query.get("sslkey"))
    return context


def sqlite_engine(url: URL, *, begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=SQLITE_BUSY_TIMEOUT_MS / 1000,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_MS / 1000},
    )

    def configure(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        del record
        connection.isolation_level = None  # we emit BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # a loan that was confirmed survives a power cut
            "foreign_keys=ON",
            "secure_delete=ON",  # what is erased is overwritten, not only unlinked
            f"busy_timeout={SQLITE_BUSY_TIMEOUT_MS}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def refuse_writes(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    del record
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()
