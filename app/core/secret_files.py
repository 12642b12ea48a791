"""Secrets in files: the source of settings that containers mount."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic_settings import EnvSettingsSource

from app.core.errors import SettingsError


def paths(names: Iterable[str]) -> dict[str, Path]:
    """The file of each of these settings that is given by one."""
    given = {name: os.environ.get(f"{name.upper()}_FILE") for name in names}
    return {name: Path(path) for name, path in given.items() if path}


class SecretFilesSource(EnvSettingsSource):
    """`X_FILE=/run/secrets/x` gives X the content of that file, without its trailing newline."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        values: dict[str, str | None] = {}
        for name, path in paths(self.settings_cls.model_fields).items():
            if os.environ.get(name.upper()):
                raise SettingsError(f"{name.upper()} and {name.upper()}_FILE are both set; keep one of them")
            try:
                values[name] = path.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{name.upper()}_FILE={path} can't be read: {error}") from error
        return values
