"""The settings: frozen, read once from the environment, secret files and the app's own env file."""

import difflib
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from app import __version__
from app.core import production
from app.core.addresses import LOOPBACK, DatabaseUrl, LookupUrls, RedisUrl, ReplicaUrl, StorageUrl
from app.core.errors import SettingsError
from app.core.misspelling import meant_by
from app.core.secret_files import SecretFilesSource

ENV_FILE = Path("library.env")

Words = Annotated[tuple[str, ...], NoDecode]


class Environment(StrEnum):
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """Every knob of the service; `.env.example` documents each.

    Precedence: environment, then `X_FILE` (a file that holds the value of X), then `library.env`, then the default.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_file=ENV_FILE, env_file_encoding="utf-8", env_ignore_empty=True
    )

    project_name: str = "Library"
    version: str = __version__
    api_v1_str: str = Field("/api/v1", pattern=r"^(/[a-z0-9-]+)+$")
    environment: Environment = Environment.PRODUCTION
    debug: bool = False
    public_url: str = ""
    data_dir: Path = Path("data")
    timezone: str = "UTC"
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")

    database_url: DatabaseUrl | None = None
    database_replica_url: ReplicaUrl | None = None
    database_connections: int = Field(48, ge=3, le=10_000)

    secret_key: SecretStr | None = None
    secret_keys_old: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    encryption_key: SecretStr | None = None
    mfa_required_roles: Words = ()
    algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    access_token_expire_minutes: int = Field(15, ge=1, le=24 * 60)
    refresh_token_expire_days: int = Field(30, ge=1, le=365)
    registration: Literal["open", "verified", "closed"] = "open"
    session_cookie_name: str = Field("library_session", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    session_cookie_secure: bool | None = None
    session_cookie_samesite: Literal["lax", "strict"] = "lax"

    smtp_host: str = ""
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: SecretStr | None = None
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    email_from: str = Field("library@localhost", pattern=r"^[^\s@<>]+@[^\s@<>]+$")
    email_from_name: str = Field("", pattern=r"^[^\x00-\x1f\x7f]*$")
    scheduler_enabled: bool = True
    history_retention_days: int = Field(30, ge=0, le=3_650)

    allowed_hosts: Words = LOOPBACK
    forwarded_allow_ips: Words = ("127.0.0.1", "::1")
    docs_enabled: bool = True
    metrics_enabled: bool = True
    metrics_token: SecretStr | None = None
    prometheus_multiproc_dir: Path | None = None

    backend_cors_origins: Words = ()
    rate_limit_enabled: bool = True
    cache_enabled: bool = True
    cache_default_timeout: int = Field(300, ge=1, le=24 * 60 * 60)
    cache_key_prefix: str = Field("library:", pattern=r"^[A-Za-z0-9:._-]{0,64}$")
    redis_url: RedisUrl | None = None
    max_concurrency: int = Field(128, ge=8, le=10_000)
    max_upload_size: int = Field(10 * 1024 * 1024, ge=1_024, le=1024**3)
    upload_dir: Path | None = None
    storage_url: StorageUrl | None = None
    backup_dir: Path | None = None
    pgbackrest_config: Path = Path("/etc/pgbackrest/pgbackrest.conf")
    allowed_file_types: Words = ("image/jpeg", "image/png", "image/webp", "image/gif", "application/pdf")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    otel_exporter_otlp_endpoint: str = Field("", pattern=r"^(https?://\S+)?$")
    otel_traces_sampler_arg: float = Field(0.01, ge=0, le=1)
    sentry_dsn: SecretStr | None = None
    max_import_size: int = Field(2 * 1024**3, ge=1_000)
    isbn_lookup_urls: LookupUrls = ""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    web_concurrency: int = Field(1, ge=1, le=256)
    workers_per_core: float = Field(1, gt=0, le=16)
    max_requests: int = Field(0, ge=0)
    max_requests_jitter: int = Field(0, ge=0)
    timeout: int = Field(30, ge=2, le=600)
    keepalive: int = Field(75, ge=1, le=600)
    graceful_timeout: int = Field(30, ge=1, le=600)
    shutdown_delay: int = Field(0, ge=0, le=300)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del file_secret_settings
        return init_settings, env_settings, SecretFilesSource(settings_cls), dotenv_settings

    @field_validator(
        "allowed_hosts",
        "forwarded_allow_ips",
        "backend_cors_origins",
        "mfa_required_roles",
        "allowed_file_types",
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(word.strip().strip("[]").lower() for word in value.split(",") if word.strip())
        return value

    @field_validator("mfa_required_roles")
    @classmethod
    def _roles_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - {"reader", "librarian", "admin"}:
            raise ValueError("must name roles: reader, librarian, admin")
        return value

    @field_validator("backend_cors_origins")
    @classmethod
    def _origins_are_exact(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError(f"must name origins such as https://catalogue.example.org, not {origin!r}")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be an IANA time zone such as Europe/Berlin") from None
        return value

    @field_validator("secret_keys_old", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value

    @field_validator("secret_key", "encryption_key")
    @classmethod
    def _secret_is_strong(cls, value: SecretStr | None) -> SecretStr | None:
        return value and production.strong(value)

    @field_validator("secret_keys_old")
    @classmethod
    def _old_secrets_are_strong(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        return tuple(production.strong(secret) for secret in value)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.is_embedded and self.secret_key is None:
            raise ValueError(f"SECRET_KEY must be set when DATABASE_URL is PostgreSQL; {production.MAKE_ONE}")
        if self.is_embedded and self.database_replica_url:
            raise ValueError("DATABASE_REPLICA_URL names a copy of DATABASE_URL, which must be PostgreSQL then")
        if self.environment is Environment.PRODUCTION:
            production.check(self)
        return self

    @model_validator(mode="after")
    def _mail_fits_together(self) -> Self:
        if bool(self.smtp_user) != bool(self.smtp_password):
            raise ValueError("SMTP_USER and SMTP_PASSWORD belong together; set both or neither")
        if self.smtp_password and self.smtp_tls == "none" and self.smtp_host not in LOOPBACK:
            raise ValueError("SMTP_TLS=none would send SMTP_PASSWORD readable over the network; use starttls or tls")
        if self.smtp_host and self.email_from.endswith("@localhost"):
            raise ValueError("EMAIL_FROM must be set when SMTP_HOST is: an address that the mail server may send for")
        return self

    @property
    def is_embedded(self) -> bool:
        """Whether the database is SQLite inside DATA_DIR or at a path."""
        return self.database_url is None or self.database_url.get_secret_value().startswith("sqlite")

    @property
    def address(self) -> str:
        """The service's public root without a trailing slash: PUBLIC_URL, or this machine's own."""
        return self.public_url.rstrip("/") or f"http://localhost:{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """Names that a request may come to: ALLOWED_HOSTS and the host of PUBLIC_URL."""
        return frozenset(self.allowed_hosts) | {urlsplit(self.address).hostname or "localhost"}


def load_settings(**overrides: Any) -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: with one sentence a problem, each saying what to set.
    """
    _refuse_near_misses(os.environ)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(dict(item)) for item in error.errors())) from None
    except (SourceError, UnicodeDecodeError) as error:
        raise SettingsError(str(error)) from error


def provenance() -> dict[str, str]:
    """Where each setting's value comes from: `environment`, `file NAME`, `library.env` or `default`."""
    origins = dict.fromkeys(Settings.model_fields, "default")
    origins |= dict.fromkeys(DotEnvSettingsSource(Settings)(), str(ENV_FILE))
    for name in SecretFilesSource(Settings)():
        origins[name] = f"file {os.environ[f'{name.upper()}_FILE']}"
    origins |= dict.fromkeys(EnvSettingsSource(Settings)(), "environment")
    return origins


def _refuse_near_misses(environ: Mapping[str, str]) -> None:
    known = {name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    for name in environ:
        if meant := meant_by(name.upper(), known):
            raise SettingsError(f"{name} is set, but there is no such setting; did you mean {meant}?")


def _sentence(problem: dict[str, Any]) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    name = location.upper()
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(location, Settings.model_fields, n=1)
        hint = f"did you mean {close[0].upper()}?" if close else "take the line out."
        return f"{ENV_FILE} sets {name}, which nothing reads; {hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name} {message}" if name else message
