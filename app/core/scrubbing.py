"""Scrubbing: what may stand in a log line, a report or a span, whoever wrote it."""

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "***"
# Secrets in the order in which they are looked for: bearer and JSON web tokens, credentials of a URL, mail addresses.
_SECRETS: Final = re.compile(
    r"(?i:bearer\s+)[\w.~+/=-]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=://)[^\s/@:]*:[^\s/@]*(?=@)"
    r"|[\w.+%-]+@[\w-]+(?:\.[\w-]+)*"
)
_PRIVATE: Final = frozenset(
    {"password", "token", "access_token", "refresh_token", "secret", "authorization", "cookie", "email", "dsn"}
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")


def scrubbed(value: Any, name: str = "") -> Any:
    """The value without secrets and mail addresses, however deep they are in it; whole under a name that says so."""
    if name.lower() in _PRIVATE:
        return MASK
    if isinstance(value, str):
        return _SECRETS.sub(MASK, value)
    if isinstance(value, Mapping):
        return {key: scrubbed(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(item) for item in value]
    return value


def on_one_line(text: str) -> str:
    """The text with what could end a line or steer a terminal written out, so that nobody can forge a line."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
