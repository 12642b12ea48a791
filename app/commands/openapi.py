"""`library openapi`: the API's document, for generators of clients; needs no database and makes no file but its own."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.core.config import load_settings
from app.core.errors import Unavailable
from app.main import build_api

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class CannotWrite(Unavailable):
    code, detail = "cannot_write", "{path} can't be written: {reason}."


@app.command()
def openapi(
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to this file instead of standard output.")
    ] = None,
) -> None:
    """Write the API's OpenAPI document as JSON.

    The address of the server in it is PUBLIC_URL.

    \b
    Examples:
      library openapi > openapi.json
      PUBLIC_URL=https://library.example.org library openapi --output openapi.json
    """
    document = json.dumps(build_api(load_settings()).openapi(), ensure_ascii=False, indent=2) + "\n"
    if output is None:
        typer.echo(document, nl=False)
        return
    try:
        output.write_text(document, encoding="utf-8")
    except OSError as error:
        raise CannotWrite(path=output, reason=error.strerror or error) from error
