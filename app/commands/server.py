"""What `library serve` does once it may touch the database: checks it, prepares it, greets, and runs the workers."""

import functools
import socket
from dataclasses import dataclass

import structlog
import typer
import uvicorn
from uvicorn.supervisors import ChangeReload

from app.commands import database as opened
from app.commands import masks, seed
from app.commands.supervisor import Supervisor
from app.core.config import Settings
from app.core.db import Database
from app.core.logging import configure_logging
from app.core.revision import is_pending

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done to the database before serving."""

    migrated: str | None
    seeded: seed.Seeded | None


def serve(
    settings: Settings, bound: list[socket.socket], *, may_migrate: bool, is_demo: bool, is_reloading: bool
) -> None:
    """Prepare the database, then answer requests until a signal.

    Raises:
        MigrationsPending, DatabaseUnusable, NotInProduction, PortInUse, WorkerFailed.
        KeyboardInterrupt: it was Ctrl-C.
    """
    if is_demo:
        seed.check_allowed(settings)
    prepare = functools.partial(_prepare, may_migrate=may_migrate or is_demo, is_demo=is_demo)
    prepared = opened.run(settings, prepare, migrated=False, is_patient=True)
    configure_logging(settings)
    if prepared.migrated:
        log.info("migrated", result=prepared.migrated)
    on_started = functools.partial(_greet, settings, prepared) if is_demo else functools.partial(_announce, settings)
    if is_reloading:
        _reload(settings, bound)
    elif settings.web_concurrency > 1:
        Supervisor(settings, bound, on_started=on_started).run()
    else:
        # With several workers this process does without the application: 60 MiB and half a second.
        from app.commands import worker  # noqa: PLC0415

        worker.run(settings, bound, on_started=on_started)


async def _prepare(database: Database, *, may_migrate: bool, is_demo: bool) -> Prepared:
    migrated = None
    if may_migrate and await is_pending(database):
        # Alembic would stay in the memory of a process that seldom migrates.
        from app.commands import migrate  # noqa: PLC0415

        migrated = await migrate.bring(database)
    await opened.check_migrated(database)
    return Prepared(migrated, await seed.put_in(database, if_empty=True) if is_demo else None)


def _reload(settings: Settings, bound: list[socket.socket]) -> None:
    config = uvicorn.Config(
        "app.main:app", reload=True, reload_dirs=["app"], log_config=None, access_log=False, lifespan="on"
    )
    _announce(settings)
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=bound).run()


def _announce(settings: Settings) -> None:
    log.info("serving", host=settings.host, port=settings.port, workers=settings.web_concurrency, at=settings.address)


def _greet(settings: Settings, prepared: Prepared) -> None:
    """Tell whoever has just started the demonstration where it is and how to get in."""
    typer.echo(f"\nThe library is open at {settings.address}\n")
    if settings.docs_enabled:
        typer.echo(f"  Try the API    {settings.address}/docs")
    typer.echo(f"  Data           {_whereabouts(settings)}")
    typer.echo("  Stop           Ctrl-C\n")
    if prepared.seeded:
        seed.show_accounts(prepared.seeded.passwords)
    else:
        typer.echo("The accounts' passwords were printed at the first start. To get a new one:")
        typer.echo("  library user set-password --email admin@library.test")
    typer.echo("")


def _whereabouts(settings: Settings) -> str:
    folder = str(settings.data_dir.absolute())
    if settings.database_url is None:
        return folder
    return f"{masks.url(settings.database_url.get_secret_value())}, files in {folder}"
