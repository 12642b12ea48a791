"""What of a setting may be shown: never a password, a key or a token."""

import re
from typing import Any, Final

from pydantic import SecretStr

MASK: Final = "********"
_PASSWORD: Final = re.compile(r"(://[^:/?#@]*):.*@")
_PARAMETER: Final = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*)=[^&]*")


def url(text: str) -> str:
    """A URL with its password and secret parameters masked; the rest helps to find a mistake."""
    return _PARAMETER.sub(rf"\1={MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))


def setting(value: Any) -> str:
    """A setting's value as a person may read it; empty for one that is not set."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return url(text) if "://" in text else MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return url(str(value))
