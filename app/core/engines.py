"""Engines: how connections to PostgreSQL and SQLite are made, and what each of them is told at its start."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from sqlalchemy import event, make_url, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DisconnectionError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.core.config import Settings
from app.core.errors import Conflict

POOL_TIMEOUT_SECONDS: Final = 2
CONNECT_TIMEOUT_SECONDS: Final = 3
SQLITE_BUSY_TIMEOUT_MS: Final = 5_000
SQLITE_READERS: Final = 4
MIGRATION_LOCK: Final = text("SELECT pg_try_advisory_lock(7301550612)")
MIGRATION_PAUSE_SECONDS: Final = 0.2
MIN_CONNECTIONS: Final = 3
MAX_CONNECTIONS: Final = 12
TLS_FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey"})
POSTGRES_LIMITS: Final = {
    "statement_timeout": "2000",
    "lock_timeout": "1000",
    "idle_in_transaction_session_timeout": "5000",
    "timezone": "UTC",
    "jit": "off",
}

# What the driver raises where PostgreSQL refused or is gone; the last where an idle connection heard of its end.
POSTGRES_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# Of the session that migrates. Each statement may take its time, and so may a busy machine between two; a table in use
# is waited for so long only that nobody notices who waits behind the migration.
FOR_MIGRATIONS: Final = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "200",
}


class NoDirectConnection(Conflict):
    code, detail = (
        "no_direct_connection",
        (
            "Migrations hold a lock and limits of their session, which PgBouncer can't keep for them. Give them the"
            " server's own address in DATABASE_URL, without ?pgbouncer=true."
        ),
    )


def database_url(settings: Settings) -> URL:
    """The database's URL: the embedded one if none is given."""
    if settings.database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(settings.data_dir.absolute() / "library.db"))
    url = make_url(settings.database_url.get_secret_value())
    return url.set(drivername="sqlite+aiosqlite") if url.get_backend_name() == "sqlite" else url


def connections_of(settings: Settings) -> int:
    """How many connections one worker may hold: its part of DATABASE_CONNECTIONS, and no more than it has use for."""
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, settings.database_connections // settings.web_concurrency))


class Postgres:
    """How one PostgreSQL server is connected to, by SQLAlchemy's engine or by the driver alone.

    Accepts what platforms hand out (`postgres://…?sslmode=require`) and rewrites it for asyncpg; `?pgbouncer=true` says
    that a PgBouncer in transaction mode stands before the server. `answer_seconds` is how long we wait for an answer
    where the server's own limit (POSTGRES_LIMITS) is not enough.
    """

    def __init__(
        self, url: URL, *, connections: int, answer_seconds: float | None = None, name: str = "library"
    ) -> None:
        self._connections, self._driver_connections = connections, connections // 3
        query = dict(url.query)
        through_pgbouncer = query.pop("pgbouncer", "false") == "true"
        self._arguments: dict[str, Any] = {
            "timeout": answer_seconds or CONNECT_TIMEOUT_SECONDS,
            "command_timeout": answer_seconds,
        }
        if not TLS_FILES.isdisjoint(query):
            self._arguments["ssl"] = _tls({name: str(value) for name, value in query.items()})
            query = {name: value for name, value in query.items() if name not in TLS_FILES | {"sslmode"}}
        elif "sslmode" in query:
            query["ssl"] = query.pop("sslmode")
        # A PgBouncer in transaction mode knows neither prepared statements of a session nor its settings: there the
        # limits belong to the role (scripts/init-db.sql).
        if through_pgbouncer:
            self._arguments["statement_cache_size"] = 0
        else:
            self._arguments["server_settings"] = {"application_name": name, **POSTGRES_LIMITS}
        self.url = url.set(drivername="postgresql+asyncpg", query=query)
        self._through_pgbouncer = through_pgbouncer

    def engine(self, *, pool_seconds: float = POOL_TIMEOUT_SECONDS) -> AsyncEngine:
        """Connections for SQLAlchemy; `pool_seconds` is how long one waits for a free one."""
        own = {"prepared_statement_cache_size": 0} if self._through_pgbouncer else {}
        engine = create_async_engine(
            self.url,
            pool_size=self._connections - self._driver_connections,
            max_overflow=0,
            pool_timeout=pool_seconds,
            hide_parameters=True,  # an error's text goes to the logs; names, addresses and hashes must not
            connect_args=self._arguments | own,
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        event.listen(engine.sync_engine, "handle_error", _name_a_loss)
        event.listen(engine.sync_engine, "invalidate", _end_at_once)
        return engine

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """A connection for migrations, in no transaction, which one process at a time gets; the others wait for it.

        Raises:
            NoDirectConnection: the lock and the limits belong to a session, and PgBouncer gives none.
        """
        if self._through_pgbouncer:
            raise NoDirectConnection
        limits = {"server_settings": self._arguments["server_settings"] | FOR_MIGRATIONS}
        engine = create_async_engine(
            self.url, poolclass=NullPool, hide_parameters=True, connect_args=self._arguments | limits
        )
        try:
            async with engine.connect() as connection:
                # Who waits inside a statement holds a snapshot, for which CREATE INDEX CONCURRENTLY waits.
                while not await connection.scalar(MIGRATION_LOCK):
                    await connection.rollback()
                    await asyncio.sleep(MIGRATION_PAUSE_SECONDS)
                await connection.rollback()  # it is the session's, and stays
                yield connection
        finally:
            await engine.dispose()

    def pool(self) -> asyncpg.Pool:
        """Connections without SQLAlchemy, opened as they are needed."""
        given = PGDialect_asyncpg().create_connect_args(self.url)[1]  # type: ignore[no-untyped-call]  # theirs has no types
        return asyncpg.create_pool(
            **given, **self._arguments, min_size=0, max_size=self._driver_connections, reset=_leave_as_it_is
        )


def _refuse_closed(connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: object) -> None:
    """Have a connection opened anew that the server has closed: the loop hears of that, nobody has to ask each time.

    SQLAlchemy's ping took 0.2 ms of each request (measured) and knew no more: it hangs where the server hangs.
    """
    del record, proxy
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _end_at_once(connection: DBAPIConnection, record: ConnectionPoolEntry, error: BaseException | None) -> None:
    """Break off what is given up: SQLAlchemy takes leave politely, for two seconds where the server hangs."""
    del record, error
    connection.driver_connection.terminate()


def _name_a_loss(failure: ExceptionContext) -> InterfaceError | None:
    """Call a connection lost that heard of its end between two statements; SQLAlchemy knows no word for it."""
    told = failure.original_exception
    if not isinstance(told.__cause__, asyncpg.InternalClientError):
        return None
    failure.is_disconnect = True
    return InterfaceError(failure.statement, None, told)


async def _leave_as_it_is(_connection: asyncpg.Connection) -> None:
    """Single statements leave nothing behind that the next user would have to be kept from."""


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
