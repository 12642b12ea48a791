"""What the service asks for help, beyond its own files: database, cache, mail, scheduler."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.commands import database as opened
from app.commands import masks
from app.commands.diagnosis.findings import Finding, State
from app.core import job_runs
from app.core.config import Environment, Settings
from app.core.db import Database
from app.core.engines import connections_of, database_url
from app.core.mail import Carrier, ServerUnavailable
from app.core.revision import current, newest
from app.core.storage import Storage, StorageUnavailable

MIN_POSTGRES: Final = (15,)
MIN_SQLITE: Final = (3, 40)
MAX_SKEW_SECONDS: Final = 2.0
REDIS_TIMEOUT_SECONDS: Final = 2.0
LONGEST_PAUSE: Final = timedelta(hours=1)


async def examine(settings: Settings) -> list[Finding]:
    """Ask each of them; one that the settings don't name is not asked."""
    return [
        *await _database(settings),
        *await _replica(settings),
        await _cache(settings),
        await _mail(settings),
        await _files(settings),
    ]


async def _database(settings: Settings) -> list[Finding]:
    if _is_to_be_made(settings):
        return [Finding("database", State.WARNING, "There is no database yet. Make it with: library migrate")]
    try:
        return await opened.use(settings, lambda database: _look_at(settings, database), migrated=False)
    except opened.DatabaseUnusable as error:
        return [Finding("database", State.ERROR, str(error))]


async def _replica(settings: Settings) -> list[Finding]:
    if settings.database_replica_url is None:
        return []
    copied = {"database_url": settings.database_replica_url, "database_replica_url": None}
    where = masks.url(settings.database_replica_url.get_secret_value())
    try:
        is_copy = await opened.use(settings.model_copy(update=copied), _is_copy, migrated=False)
    except opened.DatabaseUnusable as error:
        advice = "Until it answers, the database itself is asked for everything."
        told = str(error).replace("DATABASE_URL", "DATABASE_REPLICA_URL")
        return [Finding("replica", State.WARNING, f"{told}\n{advice}")]
    if is_copy:
        return [Finding("replica", State.OK, f"The replica at {where} follows.")]
    advice = "DATABASE_REPLICA_URL must name a server that follows DATABASE_URL's"
    return [Finding("replica", State.ERROR, f"{where} is no replica, but a database of its own; {advice}.")]


async def _is_copy(database: Database) -> bool:
    async with database.reading() as session:
        return bool(await session.scalar(text("SELECT pg_is_in_recovery()")))


def _is_to_be_made(settings: Settings) -> bool:
    return settings.is_embedded and not Path(database_url(settings).database or "").exists()


async def _look_at(settings: Settings, database: Database) -> list[Finding]:
    async with database.reading() as session:
        version = await _version(session, is_sqlite=database.is_sqlite)
        clock = [] if database.is_sqlite else [await _skew(session), await _room(session, settings)]
    migrations = await _migrations(database)
    jobs = [await _jobs(settings, database)] if migrations.state is State.OK else []
    return [version, migrations, *clock, *jobs]


async def _version(session: AsyncSession, *, is_sqlite: bool) -> Finding:
    if is_sqlite:
        found = str(await session.scalar(text("SELECT sqlite_version()")))
        return judge_version("SQLite", tuple(int(part) for part in found.split(".")), MIN_SQLITE)
    number = int(str(await session.scalar(text("SHOW server_version_num"))))
    return judge_version("PostgreSQL", divmod(number, 10_000), MIN_POSTGRES)


def judge_version(name: str, found: tuple[int, ...], needed: tuple[int, ...]) -> Finding:
    """Whether the database's release is one that this service is tested with."""
    shown = f"{name} {'.'.join(map(str, found))}"
    if found >= needed:
        return Finding("database", State.OK, f"{shown} answers.")
    oldest = f"{name} {'.'.join(map(str, needed))}"
    return Finding("database", State.ERROR, f"{shown} is too old; this release needs {oldest} or later.")


async def _migrations(database: Database) -> Finding:
    found, needed = await current(database), newest()
    if found == needed:
        return Finding("migrations", State.OK, f"The database stands at {found}.")
    if found and found > needed:
        return Finding(
            "migrations",
            State.WARNING,
            f"The database stands at {found}, made by a newer release; this one knows {needed}.",
        )
    return Finding(
        "migrations",
        State.ERROR,
        f"The database {f'stands at {found}' if found else 'is empty'}, this release needs {needed}."
        " Mend it with: library migrate",
    )


async def _skew(session: AsyncSession) -> Finding:
    before = datetime.now(UTC)
    told: datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    after = datetime.now(UTC)
    skew = (told - (before + (after - before) / 2)).total_seconds()
    if abs(skew) < MAX_SKEW_SECONDS:
        return Finding("clock", State.OK, f"The database's clock differs by {abs(skew):.2f} s.")
    return Finding(
        "clock",
        State.ERROR,
        f"The database's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's."
        " Let both follow one time server (timedatectl set-ntp true).",
    )


async def _room(session: AsyncSession, settings: Settings) -> Finding:
    """Whether the server lets in as many connections as the workers may open."""
    wanted = connections_of(settings) * settings.web_concurrency
    told = "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    room = int(str(await session.scalar(text(told))))
    if wanted <= room:
        return Finding("connections", State.OK, f"The workers hold up to {wanted} connections; {room} are let in.")
    return Finding(
        "connections",
        State.WARNING,
        f"The workers hold up to {wanted} connections, but the server lets in {room}."
        " Lower DATABASE_CONNECTIONS, raise max_connections, or put a PgBouncer between them.",
    )


async def _jobs(settings: Settings, database: Database) -> Finding:
    async with database.reading() as session:
        now = await job_runs.clock(session)
        runs = await job_runs.last_runs(session)
    if settings.scheduler_enabled:
        return Finding("scheduler", State.OK, "The service runs the jobs itself; `library job list` shows them.")
    last = max((run.last_started_at for run in runs.values()), default=None)
    if last and now - last < LONGEST_PAUSE:
        return Finding("scheduler", State.OK, "Jobs are run by a process of their own.")
    return Finding(
        "scheduler",
        State.WARNING,
        "SCHEDULER_ENABLED is false and no job has run within the hour. Start: library scheduler",
    )


async def _cache(settings: Settings) -> Finding:
    if settings.redis_url is None:
        if settings.web_concurrency == 1:
            return Finding("cache", State.OK, "Limits are counted in the one process; no REDIS_URL is needed.")
        return Finding(
            "cache",
            State.WARNING,
            f"{settings.web_concurrency} workers without REDIS_URL: each counts limits for itself, so that a client may"
            f" send up to {settings.web_concurrency} times what they say. Set REDIS_URL to count together.",
        )
    url = settings.redis_url.get_secret_value()
    try:
        async with Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_SECONDS) as redis:
            await redis.ping()
    except (RedisError, OSError, ValueError) as error:
        return Finding(
            "cache",
            State.ERROR,
            f"Redis at {masks.url(url)} can't be used: {str(error).rstrip('.')}. Until it answers, each worker counts"
            " limits for itself. Check REDIS_URL, and that the server runs and lets this user in.",
        )
    return Finding("cache", State.OK, f"Redis at {masks.url(url)} answers.")


async def _mail(settings: Settings) -> Finding:
    if not settings.smtp_host:
        if settings.environment is Environment.PRODUCTION:
            return Finding(
                "mail",
                State.WARNING,
                "SMTP_HOST is not set: letters are written to standard error, and nobody gets them.",
            )
        return Finding("mail", State.OK, "Letters are written to standard error; SMTP_HOST would send them.")
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        async with Carrier(settings) as carrier:
            await carrier.connect()
    except ServerUnavailable as error:
        return Finding(
            "mail",
            State.ERROR,
            f"The mail server at {where} can't be used: {error}."
            " Check SMTP_HOST, SMTP_PORT, SMTP_TLS, SMTP_USER and SMTP_PASSWORD.",
        )
    return Finding("mail", State.OK, f"The mail server at {where} lets us in.")


async def _files(settings: Settings) -> Finding:
    if settings.storage_url is None:
        folder = settings.upload_dir or settings.data_dir / "uploads"
        return Finding("files", State.OK, f"Uploads are kept in {folder.absolute()}; STORAGE_URL would take a bucket.")
    where = masks.url(settings.storage_url.get_secret_value())
    try:
        async for _ in Storage(settings).listed("doctor"):
            break
    except StorageUnavailable:
        return Finding(
            "files",
            State.ERROR,
            f"The bucket at {where} can't be used. Check STORAGE_URL, and that its key may list, read and write there.",
        )
    return Finding("files", State.OK, f"The bucket at {where} answers.")
