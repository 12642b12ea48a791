"""`library restore`: the database brought back from a backup, checked before it takes the real one's place."""

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.commands.backups import restoring
from app.core.config import load_settings
from app.core.logging import configure_logging

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def restore(
    to: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="To this moment, such as '2026-11-24 12:00:00+00'; else the newest.",
        ),
    ] = "",
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also if rules are broken in it, and with SQLite while something has the file open."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Bring the database back to a moment. Stop the service first; scripts/restore.sh does all of it.

    The backup is restored beside the real database and checked there, byte by byte and rule by rule; who was erased
    since is erased again. Only then it takes the real one's place, and the former one stays beside it. With
    PostgreSQL any second since the oldest backup can be had; with SQLite the last backup before it.

    \b
    Examples:
      library restore
      library restore --to "2026-11-24 12:00:00+00"
    """
    moment = _moment(to) if to else None
    settings = load_settings()
    configure_logging(settings, stream=sys.stderr)
    report = asyncio.run(restoring.restore(settings, to=moment, force=force))
    if as_json:
        reached = report.reached_at and report.reached_at.astimezone(UTC).isoformat()
        typer.echo(json.dumps(asdict(report) | {"reached_at": reached}))
        return
    until = f", up to {report.reached_at:%Y-%m-%d %H:%M:%S %Z}" if report.reached_at else ""
    typer.echo(
        f"Restored the backup {report.backup} ({report.size_bytes / 1_000_000:,.1f} MB) in {report.seconds:.1f} s"
        f"{until}: {report.tables} tables, {report.rows:,} rows."
    )
    typer.echo(f"Erased again: {report.erased_again}. Broken rules: {'; '.join(report.violations) or 'none'}.")
    typer.echo(f"The former database is now {report.former}; delete it when nobody needs it. Make a full backup next.")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it as '2026-11-24 12:00:00+00'", param_hint="--to") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("say the time zone too: '2026-11-24 12:00:00+00'", param_hint="--to")
    return moment
