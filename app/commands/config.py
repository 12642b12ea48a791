"""`library config`: what the settings are and where each comes from."""

import json
from typing import Annotated

import typer

from app.commands import masks, tables
from app.core.config import Settings, load_settings, provenance

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def config() -> None:
    """Look at the settings."""


@app.command()
def show(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False) -> None:
    """Show every setting, its value and where it came from.

    From the environment, from a file that X_FILE names, from library.env in the current folder, or its default, in
    this order. Passwords, keys and tokens are masked. .env.example says what each setting does.

    \b
    Examples:
      library config show
      library config show --json
    """
    settings, origins = load_settings(), provenance()
    shown = [(name.upper(), masks.setting(getattr(settings, name)), origins[name]) for name in Settings.model_fields]
    if as_json:
        document = {name: {"value": value, "origin": origin} for name, value, origin in shown}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        tables.show(("Setting", "Value", "From"), shown)
