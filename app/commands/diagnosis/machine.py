"""What this machine gives the service: settings, folders, the secret, the disk, the clock."""

import ipaddress
import os
import shutil
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from app.api.docs import STATIC
from app.commands.diagnosis.findings import Finding, State
from app.core import secret_files
from app.core.config import ENV_FILE, Environment, Settings
from app.core.revision import VERSIONS

MIN_FREE_SHARE: Final = 0.15
LOW_FREE_BYTES: Final = 1_000_000_000
TOO_LITTLE_BYTES: Final = 100_000_000
SECRET_LIFE: Final = timedelta(days=365)
CLOCK_SAMPLE_SECONDS: Final = 0.05
MAX_CLOCK_STEP_SECONDS: Final = 0.1


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at each of them."""
    yield from _settings(settings)
    yield from _env_file()
    yield from _data_folder(settings)
    yield from _secret_key(settings)
    yield from _secret_files()
    yield from _space(settings)
    yield from _clock()
    yield from _docs(settings)


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


def _secret_files() -> Iterator[Finding]:
    """Secrets that were given as files, by when those were written."""
    files = secret_files.paths(Settings.model_fields)
    oldest = time.time() - SECRET_LIFE.total_seconds()
    if old := [name.upper() for name, path in files.items() if path.stat().st_mtime < oldest]:
        yield Finding(
            "secrets",
            State.WARNING,
            f"{', '.join(old)}: the file is older than {SECRET_LIFE.days} days. Change the secret; docs/security.md,"
            " Secrets, says how without signing anybody out.",
        )
    elif files:
        yield Finding("secrets", State.OK, f"{len(files)} from files, none older than {SECRET_LIFE.days} days.")


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
