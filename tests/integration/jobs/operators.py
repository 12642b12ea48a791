"""The command line with the settings of a test, whatever they are."""

from pydantic import SecretStr

from app.core.config import Settings
from tests.integration.commands.command_line import CommandLine


def command_line(settings: Settings) -> CommandLine:
    values = {name.upper(): getattr(settings, name) for name in settings.model_fields_set}
    return CommandLine(
        settings.data_dir,
        {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
            if value is not None
        },
    )
