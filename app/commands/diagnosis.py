"""What `library doctor` looks at: each check reads, changes nothing, and ends in a sentence."""

import ipaddress
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.docs import STATIC
from app.commands import database as opened
from app.core.config import ENV_FILE, Environment, Settings
from app.core.db import Database, database_url
from app.core.revision import VERSIONS, current, newest

MIN_POSTGRES: Final = (15,)
MIN_SQLITE: Final = (3, 40)
MIN_FREE_SHARE: Final = 0.15
LOW_FREE_BYTES: Final = 1_000_000_000
TOO_LITTLE_BYTES: Final = 100_000_000
MAX_SKEW_SECONDS: Final = 2.0
CLOCK_SAMPLE_SECONDS: Final = 0.05
MAX_CLOCK_STEP_SECONDS: Final = 0.1


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result; `detail` says how it stands or how to mend it."""

    check: str
    state: State
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Run every check, the ones that need no database first."""
    return [
        *_settings(settings),
        *_env_file(),
        *_data_folder(settings),
        *_secret_key(settings),
        *_space(settings),
        *await _database(settings),
        *_workers(settings),
        Finding("mail", State.OK, "Mails are written to the log; this release sends none."),
        *_clock(),
        *_docs(settings),
    ]


def _settings(settings: Settings) -> Iterator[Finding]:
    count = len(settings.model_fields_set)
    yield Finding("settings", State.OK, f"{count} set, {settings.environment}; `library config show` lists them.")
    if settings.environment is Environment.PRODUCTION and not settings.public_url:
        yield Finding(
            "settings",
            State.WARNING,
            "PUBLIC_URL is not set: links point to this machine. Set it to the address that readers use.",
        )
    if not _is_loopback(settings.host) and all(_is_loopback(host) for host in settings.hosts):
        yield Finding(
            "settings",
            State.WARNING,
            f"HOST is {settings.host}, but requests are taken for {', '.join(sorted(settings.hosts))} only."
            " Set PUBLIC_URL, or name the host in ALLOWED_HOSTS.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _env_file() -> Iterator[Finding]:
    if ENV_FILE.exists():
        mode = stat.S_IMODE(ENV_FILE.stat().st_mode)
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            yield Finding(
                "env file",
                State.WARNING,
                f"Everybody on this machine can read {ENV_FILE} (mode {mode:04o}), and it may hold secrets."
                f" Mend it with: chmod 640 {ENV_FILE}",
            )
        else:
            yield Finding("env file", State.OK, f"{ENV_FILE} is read.")
    elif Path(".env").exists():
        yield Finding(
            "env file",
            State.WARNING,
            f".env is here, but the service doesn't read it: it is Docker Compose's. The service reads {ENV_FILE}.",
        )
    else:
        yield Finding("env file", State.OK, f"There is no {ENV_FILE} here; the environment alone counts.")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.absolute()
    if not folder.exists():
        parent = next(each for each in folder.parents if each.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("data folder", State.OK, f"{folder} is not there yet; the first start makes it.")
        else:
            yield Finding(
                "data folder",
                State.ERROR,
                f"{folder} is not there and this user may not make it in {parent}. Make it, or set DATA_DIR.",
            )
    elif not folder.is_dir():
        yield Finding("data folder", State.ERROR, f"{folder} is not a folder. Set DATA_DIR to one.")
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            "data folder",
            State.ERROR,
            f"This user may not write to {folder}. Give it to him (chown), or set DATA_DIR to another.",
        )
    elif settings.is_embedded and folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            "data folder",
            State.WARNING,
            f"Others on this machine can look into {folder}, where the database is. Mend it with: chmod 700 {folder}",
        )
    else:
        yield Finding("data folder", State.OK, f"{folder} is writable.")


def _secret_key(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir.absolute() / "secret_key"
    if settings.secret_key:
        yield Finding("secret key", State.OK, "SECRET_KEY is set.")
    elif not path.exists():
        yield Finding("secret key", State.OK, f"The first start makes one in {path}.")
    elif (mode := stat.S_IMODE(path.stat().st_mode)) & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            "secret key",
            State.ERROR,
            f"Others can read {path} (mode {mode:04o}) and could sign in as anybody. Mend it with: chmod 600 {path}"
            " - and remove it if somebody may have read it: everybody then signs in anew.",
        )
    elif not os.access(path, os.R_OK):
        yield Finding("secret key", State.ERROR, f"This user may not read {path}. Give it to him: chown.")
    else:
        yield Finding("secret key", State.OK, f"{path}, for this user alone.")


def _space(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.absolute()
    usage = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists()))
    yield judge_space(usage.free, usage.total)


def judge_space(free_bytes: int, total_bytes: int) -> Finding:
    """Whether the disk has room for what is to come."""
    free = f"{free_bytes / 1e9:.1f} GB ({free_bytes / total_bytes:.0%}) free"
    if free_bytes < TOO_LITTLE_BYTES:
        return Finding("storage", State.ERROR, f"{free}: writing will fail soon. Make room, or move DATA_DIR.")
    if free_bytes < LOW_FREE_BYTES or free_bytes / total_bytes < MIN_FREE_SHARE:
        return Finding("storage", State.WARNING, f"{free}; make room before it is full.")
    return Finding("storage", State.OK, f"{free}; files are kept on this disk.")


async def _database(settings: Settings) -> list[Finding]:
    if _is_to_be_made(settings):
        return [Finding("database", State.WARNING, "There is no database yet. Make it with: library migrate")]
    try:
        return await opened.use(settings, _look_at, migrated=False)
    except opened.DatabaseUnusable as error:
        return [Finding("database", State.ERROR, str(error))]


def _is_to_be_made(settings: Settings) -> bool:
    return settings.is_embedded and not Path(database_url(settings)[0].database or "").exists()


async def _look_at(database: Database) -> list[Finding]:
    async with database.reading() as session:
        version = await _version(session, is_sqlite=database.is_sqlite)
        clock = [] if database.is_sqlite else [await _skew(session)]
    return [version, await _migrations(database), *clock]


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


def _workers(settings: Settings) -> Iterator[Finding]:
    if settings.web_concurrency > 1:
        yield Finding(
            "workers",
            State.WARNING,
            f"{settings.web_concurrency} workers, each with a cache and limits of its own: a client may send up to"
            f" {settings.web_concurrency} times what the limits say.",
        )
    else:
        yield Finding("workers", State.OK, "One worker; cache and limits are in it.")


def _clock() -> Iterator[Finding]:
    released = datetime.fromtimestamp(max(path.stat().st_mtime for path in VERSIONS.glob("[0-9]*_*.py")), UTC)
    now = datetime.now(UTC)
    if now < released - timedelta(days=1):
        yield Finding(
            "clock",
            State.ERROR,
            f"This machine says it is {now:%Y-%m-%d}, before this release was made ({released:%Y-%m-%d})."
            " Set its clock (timedatectl set-ntp true).",
        )
        return
    wall, steady = time.time(), time.monotonic()
    time.sleep(CLOCK_SAMPLE_SECONDS)
    drift = (time.time() - wall) - (time.monotonic() - steady)
    if abs(drift) > MAX_CLOCK_STEP_SECONDS:
        yield Finding("clock", State.WARNING, f"This machine's clock jumped by {drift:.1f} s just now.")
    else:
        yield Finding("clock", State.OK, f"This machine says {now:%Y-%m-%d %H:%M} UTC.")


def _docs(settings: Settings) -> Iterator[Finding]:
    if not settings.docs_enabled:
        yield Finding("docs", State.OK, "DOCS_ENABLED is false: there is no /docs.")
    elif (STATIC / "vendor" / "swagger-ui-dist" / "swagger-ui-bundle.js").exists():
        yield Finding("docs", State.OK, "/docs and /redoc have their scripts.")
    else:
        yield Finding("docs", State.WARNING, "/docs and /redoc lack their scripts. Mend it with: make assets")
