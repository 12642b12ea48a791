"""`library seed`: fills an empty library with the demonstration, and prints its passwords once."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from app.commands import database as opened
from app.commands import tables
from app.commands.demo import library, people
from app.core.config import Environment, Settings, load_settings
from app.core.db import Database
from app.core.errors import Forbidden
from app.core.security import hash_password, new_password

app = typer.Typer(rich_markup_mode=None, add_completion=False)

WAIT_SECONDS: Final = 60
PAUSE_SECONDS: Final = 0.5


class NotInProduction(Forbidden):
    code, detail = (
        "not_in_production",
        (
            "The demonstration library is not for production, and ENVIRONMENT is production (the default)."
            " Set ENVIRONMENT=development, or staging, to load it."
        ),
    )


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was put in, and the new passwords by address."""

    counts: Mapping[str, int]
    passwords: Mapping[str, str]


@app.command()
def seed(
    *,
    if_empty: Annotated[
        bool, typer.Option("--if-empty", help="Do nothing, and say nothing, when the library holds something.")
    ] = False,
) -> None:
    """Fill an empty library with the demonstration books, copies and readers.

    About 380 well-known books, 900 copies in two branches, terms of borrowing, staff and readers. It is one
    transaction: interrupted, it leaves nothing. The passwords of the named accounts are random and printed once.

    \b
    Examples:
      ENVIRONMENT=development library seed
      ENVIRONMENT=development library seed --if-empty
    """
    settings = load_settings()
    check_allowed(settings)

    async def work(database: Database) -> Seeded | None:
        return await put_in(database, if_empty=if_empty)

    if seeded := opened.run(settings, work):
        typer.echo("Put in " + ", ".join(f"{count} {what}" for what, count in seeded.counts.items()) + ".")
        show_accounts(seeded.passwords)


def check_allowed(settings: Settings) -> None:
    if settings.environment is Environment.PRODUCTION:
        raise NotInProduction


async def put_in(database: Database, *, if_empty: bool = False) -> Seeded | None:
    """Fill an empty library; with `if_empty` one that holds something is left as it is, and None returned.

    While another seed is at work it waits for that one's end.

    Raises:
        NotEmpty: without `if_empty`.
        SeedUnderWay: the other one does not end.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return await _put_in(database)
        except library.NotEmpty:
            if if_empty:
                return None
            raise
        except library.SeedUnderWay:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(PAUSE_SECONDS)


async def _put_in(database: Database) -> Seeded:
    passwords = {account.email: new_password() for account in people.accounts() if account.signs_in}
    async with database.transaction() as session:
        await library.check_empty(session)
    hashes = dict(zip(passwords, await asyncio.gather(*map(hash_password, passwords.values())), strict=True))
    async with database.transaction() as session:
        counts = await library.fill(session, password_hashes=hashes, now=datetime.now(UTC))
    return Seeded(counts, passwords)


def show_accounts(passwords: Mapping[str, str]) -> None:
    """Print the new accounts with their passwords; nobody can print them again."""
    shown = {account.email: account for account in people.accounts() if account.signs_in}
    rows = [
        (email, password, shown[email].role, ", ".join(shown[email].branches)) for email, password in passwords.items()
    ]
    tables.show(("E-mail", "Password", "Role", "Works in"), rows)
    typer.echo("The passwords are not kept anywhere else; note them now.")
