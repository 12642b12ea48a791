"""Addresses in the settings, as types: each checks its own, and says in a sentence what it must be."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_NEAR: Final = {("http", host) for host in LOOPBACK}
_POSTGRES: Final = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})


def _database(value: SecretStr) -> SecretStr:
    scheme, slashes, rest = value.get_secret_value().partition("://")
    if not slashes or scheme not in _POSTGRES | {"sqlite", "sqlite+aiosqlite"}:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    if scheme.startswith("sqlite") and (not rest.startswith("/") or rest in {"/", "/:memory:"}):
        raise ValueError("must name a file, such as sqlite:////var/lib/library/library.db")
    return value


def _replica(value: SecretStr) -> SecretStr:
    if value.get_secret_value().partition("://")[0] not in _POSTGRES:
        raise ValueError("must begin with postgresql://")
    return value


def _redis(value: SecretStr) -> SecretStr:
    if value.get_secret_value().partition("://")[0] not in {"redis", "rediss", "unix"}:
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return value


def _bucket(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme != "s3" or not parts.hostname:
        raise ValueError("must name a bucket: s3://KEY:SECRET@bucket/prefix?region=…&endpoint=https://…")
    return value


def _lookups(value: str) -> str:
    for url in value.split():
        parts = urlsplit(url)
        if "{isbn}" not in url or not (parts.scheme == "https" or (parts.scheme, parts.hostname) in _NEAR):
            raise ValueError(f"must name addresses such as https://sru.example.org/?query={{isbn}}, not {url!r}")
    return value


DatabaseUrl = Annotated[SecretStr, AfterValidator(_database)]
ReplicaUrl = Annotated[SecretStr, AfterValidator(_replica)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]
StorageUrl = Annotated[SecretStr, AfterValidator(_bucket)]
LookupUrls = Annotated[str, AfterValidator(_lookups)]
"""Addresses with {isbn} in them, separated by spaces."""
