"""The database: engines for PostgreSQL and SQLite, and `transaction()`, the only commit in the repository.

Two databases, one behaviour. On PostgreSQL row locks decide who waits for whom. On SQLite one writer runs at a time:
its engine holds a single connection (waiting writers queue in order inside the process) and opens each transaction
with BEGIN IMMEDIATE (writers of other processes queue on the file), while readers have connections of their own.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    Select,
    String,
    Text,
    TypeDecorator,
    event,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.core import metrics
from app.core.config import Settings
from app.core.direct import Direct
from app.core.driver import Compiled, Driver, NoAnswer, PostgresDriver, Rows, SqliteDriver
from app.core.engines import SQLITE_READERS, Postgres, connections_of, database_url, refuse_writes, sqlite_engine
from app.core.generations import Generations
from app.core.replica import ANSWER_SECONDS, Replica
from app.core.tracing import Tracing

log = structlog.get_logger()

# What a statement may take that goes over a whole library, with ten million loans.
WHOLE_LIBRARY_SECONDS: Final = 300

Effect = Callable[[], None]
T = TypeVar("T")


class Base(DeclarativeBase):
    """All tables; constraints are named by convention so that migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database, whatever the database keeps of the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("instants must be aware")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BigId = BigInteger().with_variant(Integer, "sqlite")


# A text that is compared and sorted by its bytes, the same on both databases.
Key = Text().with_variant(Text(collation="C"), "postgresql")
Document = JSON().with_variant(JSONB(), "postgresql")


class Generation(Base):
    """How often data of one kind has changed; answers that were kept of it belong to one number."""

    __tablename__ = "generations"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class Database:
    """Connections of one process. `transaction()` to write, `reading()` to read, nothing else commits."""

    def __init__(self, settings: Settings, *, tracing: Tracing | None = None) -> None:
        url = database_url(settings)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._replica: Replica | None = None
        self._driver: Driver
        if self.is_sqlite:
            self.url = url
            Path(url.database or "").parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._writer = sqlite_engine(url, begin="BEGIN IMMEDIATE", connections=1)
            self._reader = sqlite_engine(url, begin="BEGIN", connections=SQLITE_READERS)
            event.listen(self._reader.sync_engine, "connect", refuse_writes)
            self._driver = SqliteDriver(self._reader)
            self.connections_limit = 1 + SQLITE_READERS
        else:
            self.connections_limit = connections_of(settings)
            self.primary = Postgres(url, connections=self.connections_limit)
            self.url = self.primary.url
            self._writer = self._reader = self.primary.engine()
            self._driver = PostgresDriver(self.primary, self._reader.dialect)
        self._changes_here: Counter[str] = Counter()
        self.generations = Generations(self.generation, self._changes_here)
        engines = {self._writer, self._reader}
        if settings.database_replica_url:
            copied = make_url(settings.database_replica_url.get_secret_value())
            copy = Postgres(copied, connections=self.connections_limit, answer_seconds=ANSWER_SECONDS)
            self._replica = Replica(copy, self.generations, numbers=select(Generation.name, Generation.number))
            engines.add(self._replica.engine)
            self.connections_limit *= 2
        for engine in engines:
            metrics.observe_engine(engine.sync_engine)
            if tracing:
                tracing.observe_engine(engine.sync_engine)
        self._write_sessions = async_sessionmaker(self._writer, expire_on_commit=False)
        self._read_sessions = async_sessionmaker(self._reader, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One unit of work: commits when the block ends, rolls back when it raises.

        What the block registered with `on_commit` runs after the commit and never before it.
        """
        async with self._write_sessions() as session:
            async with session.begin():
                yield session
                await session.flush()
                changed = sorted(session.info.get("changed", ()))
                for name in changed:  # last, so that writers of one kind wait for each other only while one commits
                    raised = update(Generation).where(Generation.name == name).values(number=Generation.number + 1)
                    await session.execute(raised)
            for name in changed:
                self._changes_here[name] += 1
            effects: list[Effect] = session.info.get("effects", [])
            for effect in effects:
                try:
                    effect()
                except Exception:
                    # The commit stands: the caller must hear of success, and the other effects must run.
                    log.exception("effect_failed", effect=getattr(effect, "__qualname__", repr(effect)))

    @asynccontextmanager
    async def reading(self, *, seconds: int = 0) -> AsyncIterator[AsyncSession]:
        """A session that only reads; on SQLite it waits for no writer and a write in it fails.

        `seconds` lets each statement take so long, for what goes over a whole library.
        """
        async with self._read_sessions() as session:
            if seconds and not self.is_sqlite:
                await session.execute(text(f"SET LOCAL statement_timeout = '{seconds}s'"))
            yield session

    async def read(self, work: Callable[[AsyncSession], Awaitable[T]], *, kind: str | None = None) -> T:
        """What `work` reads; of a `kind` of data from the replica, if there is one that has all of it and answers."""
        if kind and self._replica and await self._replica.has(kind):
            with suppress(NoAnswer):
                return await self._replica.read(work)
        async with self.reading() as session:
            return await work(session)

    def compiled(self, statement: Select[Any]) -> Compiled:
        """The statement for `rows`; to be kept."""
        return Compiled(statement, self._driver.dialect)

    async def rows(self, statement: Compiled, *, kind: str | None = None, **values: Any) -> Rows:
        """Like `read`, but what a compiled statement finds, through the driver alone.

        Raises:
            NoAnswer: the database didn't answer.
        """
        if kind and self._replica and await self._replica.has(kind):
            with suppress(NoAnswer):
                return await self._replica.rows(statement, **values)
        return await self._driver.rows(statement, **values)

    async def ask(self, statement: Direct, **values: Any) -> list[Any]:
        """What a direct statement finds on the primary now, outside any transaction.

        Raises:
            NoAnswer: the database didn't answer.
        """
        text = statement.text(self._driver.dialect)
        return text.read(await self._driver.fetch(text.text, text.values(values)))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Any]:
        """A writing connection without a session, for migrations; the caller's block is one transaction."""
        async with self._writer.begin() as connection:
            yield connection

    async def generation(self, name: str) -> int:
        """The number of a kind of data. What is read after it is at least as new."""
        async with self.reading() as session:
            return (await session.scalars(select(Generation.number).where(Generation.name == name))).one()

    async def ping(self) -> None:
        """Raise unless the database answers."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def scrub(self) -> None:
        """Empty SQLite's log, in which deleted rows still stand; PostgreSQL's vacuum does the like by itself."""
        if self.is_sqlite:
            async with self._writer.connect() as connection:
                raw = await connection.get_raw_connection()
                await raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]  # aiosqlite's

    async def close(self) -> None:
        await self.generations.close()
        await self._driver.close()
        if self._replica:
            await self._replica.close()
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()


def on_commit(session: AsyncSession, effect: Effect) -> None:
    """Run `effect` once, after the session's transaction has committed; never if it rolls back."""
    session.info.setdefault("effects", []).append(effect)


def raise_generation(session: AsyncSession | Session, name: str) -> None:
    """Say that the transaction changes data of this kind: its generation is raised when the transaction commits."""
    session.info.setdefault("changed", set()).add(name)
