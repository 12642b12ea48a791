"""`library erasure`: erasing again, after a restore, whoever had been erased since the backup."""

from datetime import UTC, datetime

import typer

from app.commands import database as opened
from app.core.config import load_settings
from app.core.db import Database
from app.core.storage import Storage
from app.erasure import service

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def erasure() -> None:
    """Keep erased accounts erased."""


@app.command()
def replay() -> None:
    """Erase again every account that the erasure ledger names and the database still knows.

    To be run after a restore, before the service opens. The ledger is outside the database, in UPLOAD_DIR or the
    bucket of STORAGE_URL. Harmless at any time: who was erased stays erased.

    \\b
    Examples:
      library erasure replay
    """
    settings = load_settings()

    async def work(database: Database) -> tuple[int, int]:
        storage, now = Storage(settings), datetime.now(UTC)
        counts = await service.replay(database, storage, timezone=settings.timezone, now=now)
        await database.scrub()
        return counts

    named, erased = opened.run(settings, work)
    typer.echo(f"The ledger names {named} erased accounts; {erased} of them were here again and are erased.")
