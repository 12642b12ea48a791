"""The rebuilding of what finds books: keys, words and access points, batch by batch while the service answers."""

import sys
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

from app.books import queries
from app.books import service as books
from app.core.db import Database

BATCH: Final = 500


async def reindex(database: Database) -> int:
    """Rebuild every book's, a transaction a batch; returns how many batches. Shows its progress on a terminal."""
    async with database.reading() as session:
        last_id = await queries.last_id(session)
    batches, after_id = 0, 0
    console = Console(file=sys.stderr)
    with Progress(
        BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=last_id)
        while after_id < last_id:
            async with database.transaction() as session:
                reached = await books.reindex(session, after_id=after_id, limit=BATCH)
            if reached is None:
                break
            batches, after_id = batches + 1, reached
            progress.update(task, completed=after_id)
    return batches
