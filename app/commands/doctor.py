"""`library doctor`: checks what the service stands on, and says how to mend what is wrong."""

import asyncio
import json
from typing import Annotated

import typer

from app.commands import diagnosis, tables
from app.commands.diagnosis.findings import Finding, State
from app.core.config import load_settings
from app.core.errors import SettingsError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False) -> None:
    """Check settings, files, database, clock and more, and say how to mend what is wrong.

    Changes nothing. Ends with 1 if the service can't work so, or if a server that the settings name can't be used; a
    warning alone ends with 0.

    \b
    Examples:
      library doctor
      library doctor --json
    """
    try:
        findings = asyncio.run(diagnosis.examine(load_settings()))
    except SettingsError as error:
        findings = [Finding("settings", State.ERROR, str(error))]
    if as_json:
        document = [{"check": found.check, "state": found.state, "detail": found.detail} for found in findings]
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        tables.show(("Check", "State", ""), [(found.check, found.state, found.detail) for found in findings])
    if any(found.state is State.ERROR for found in findings):
        raise typer.Exit(1)
