"""`library migrate`: brings the schema to the release's; safe to run again, and by several machines at once."""

from typing import Annotated

import typer

from app.commands import database as opened
from app.core import migrations
from app.core.config import load_settings
from app.core.db import Database
from app.core.errors import Conflict, NotFound
from app.core.revision import VERSIONS, current, newest

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class UnknownRevision(NotFound):
    code, detail = "unknown_revision", "There is no migration {revision}; this release has {known}."


class WouldGoBack(Conflict):
    code, detail = (
        "would_go_back",
        (
            "The database stands at {found}. Going back to {revision} deletes what the newer migrations brought;"
            " make a backup, then add --down."
        ),
    )


@app.command()
def migrate(
    revision: Annotated[
        str, typer.Option(help="Stop at this migration, such as 0001.", metavar="NNNN", show_default=False)
    ] = "",
    *,
    down: Annotated[bool, typer.Option("--down", help="Allow going back to an older one; this deletes data.")] = False,
) -> None:
    """Bring the database to the schema that this release needs.

    Does nothing when it is there already. Of several that run at once one works and the others wait for it. Each
    migration is one transaction: one that fails undoes itself, and the next run goes on there. A table in use is waited
    for a fifth of a second at a time, for two minutes. The release before this one can go on serving meanwhile.

    \b
    Examples:
      library migrate
      library migrate --revision 0001 --down
    """
    typer.echo(opened.run(load_settings(), lambda database: bring(database, revision, down=down), migrated=False))


async def bring(database: Database, revision: str = "", *, down: bool = False) -> str:
    """Migrate up, or with `down` back, to `revision` or the newest; returns what happened, in a sentence.

    Raises:
        UnknownRevision, WouldGoBack.
    """
    target = revision or newest()
    known = sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*_*.py"))
    if target not in known:
        raise UnknownRevision(revision=target, known=", ".join(known))
    before = await current(database)
    if before and before > known[-1]:
        return f"The database stands at {before}, made by a newer release; this one serves it as it is."
    if before and before > target:
        if revision and not down:
            raise WouldGoBack(found=before, revision=target)
        await migrations.downgrade(database, target)
    else:
        await migrations.upgrade(database, target)
    after = await current(database)
    if after == before:
        return f"The database stands at {after}; there was nothing to do."
    return f"The database went from {before or 'empty'} to {after}."
