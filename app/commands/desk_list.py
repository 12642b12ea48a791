"""`library desk-list`: what a desk needs for a day on paper, written now."""

from datetime import UTC, datetime

import typer

from app.commands import database as opened
from app.commands.backups import desk_list as lists
from app.core.config import load_settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command("desk-list")
def desk_list() -> None:
    """Write today's loans and hold shelf into the place of backups, as CSV and as a page to print.

    Card numbers and barcodes, no names and no titles. `library backup schedule` does it each morning.

    \b
    Examples:
      library desk-list
    """
    settings = load_settings()
    counts = opened.run(settings, lambda database: lists.write(database, settings, datetime.now(UTC)))
    written = " and ".join(str(path) for path in lists.newest(settings))
    typer.echo(f"{counts['loans']} loans and {counts['holds']} on the hold shelf: {written}")
