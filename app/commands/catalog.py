"""`library catalog`: what is done to the whole catalogue at once."""

import typer

from app.commands import database as opened
from app.commands.reindex import BATCH
from app.commands.reindex import reindex as rebuild
from app.core.config import load_settings

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def catalog() -> None:
    """Take books in, give them out, rebuild what finds them."""


@app.command()
def reindex() -> None:
    """Rebuild the keys and words by which books are found.

    Needed only when a release's notes say so. The service may go on answering meanwhile: this works in batches of
    500 books, each a transaction of its own, and may be interrupted and run again.

    \b
    Example:
      library catalog reindex
    """
    batches = opened.run(load_settings(), rebuild)
    typer.echo(f"Rebuilt what finds the books, in {batches} batch{'' if batches == 1 else 'es'} of up to {BATCH}.")
