"""The `library` command: its table of commands, each loaded when it is asked for, and what a failure looks like."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from app import __version__
from app.core.errors import AppError, SettingsError

# Name → where its typer application stands, and its line of help. Loading them all for `library --help` would take a
# second instead of a tenth.
COMMANDS: Final = {
    "serve": ("app.commands.serve:app", "Answer requests."),
    "migrate": ("app.commands.migrate:app", "Bring the database to the schema that this release needs."),
    "user": ("app.commands.user:app", "Make accounts, list them, give them a role or a new password."),
    "catalog": ("app.commands.catalog:app", "Take books in, rebuild what finds them."),
    "seed": ("app.commands.seed:app", "Fill an empty library with the demonstration books, copies and readers."),
    "job": ("app.commands.job:app", "Run a job now, or see when each last ran and runs next."),
    "scheduler": ("app.commands.scheduler:app", "Run jobs when they are due, in a process of its own."),
    "backup": ("app.commands.backup:app", "Make backups, list them, try whether they can be restored."),
    "restore": ("app.commands.restore:app", "Bring the database back from a backup, to any moment."),
    "desk-list": ("app.commands.desk_list:app", "Write what a desk needs for a day on paper."),
    "erasure": ("app.commands.erasure:app", "Keep erased accounts erased, after a restore."),
    "deploy": ("app.commands.deploy:app", "Bring a release to a host with Docker Compose, and take it back."),
    "openapi": ("app.commands.openapi:app", "Write the API's OpenAPI document."),
    "config": ("app.commands.config:app", "Show every setting, its value and where it came from."),
    "doctor": ("app.commands.doctor:app", "Check what the service stands on, and say how to mend what is wrong."),
}
FAILED: Final = 1
MISUSED: Final = 2


class LazyGroup(TyperGroup):
    """A group that imports a command's module only to run it or to show its own help."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            if (close := difflib.get_close_matches(cmd_name, COMMANDS)) and not ctx.resilient_parsing:
                ctx.fail(f"There is no command '{cmd_name}'. Did you mean '{close[0]}'?")
            return None
        if cmd_name not in self.commands:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            command = get_command(getattr(importlib.import_module(module), attribute))
            command.name = cmd_name
            self.commands[cmd_name] = command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback(epilog="`library COMMAND --help` explains a command and shows examples.")
def library(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", is_eager=True, callback=lambda on: _version(on=on)
        ),
    ] = False,
) -> None:
    """The library service.

    Settings come from the environment, from files named by X_FILE, and from library.env in the current folder;
    `library config show` lists them, .env.example explains them.
    """
    del version


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process: 0 done, 1 refused or failed, 2 misused, 130 interrupted."""
    try:
        get_command(app)(args=arguments, prog_name="library")
    except KeyboardInterrupt:
        sys.exit(130)
    except SettingsError as error:
        _say(f"The settings can't be used:\n{error}")
        sys.exit(MISUSED)
    except AppError as error:
        _say(str(error))
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001  # the outermost edge: whatever it is, a person reads it
        traceback.print_exc()
        _say(f"\nThis is a fault in the program ({type(error).__name__}), not in what you typed.")
        _say("Please report it with the lines above.")
        sys.exit(FAILED)


def _version(*, on: bool) -> None:
    if on:
        typer.echo(f"library {__version__}")
        raise typer.Exit


def _say(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr)  # noqa: T201  # a command line's way to speak


if __name__ == "__main__":
    main()
