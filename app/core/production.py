"""What production refuses to start with: switches, wildcards and secrets that are only good for trying it out."""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    from app.core.config import Settings

MAKE_ONE: Final = 'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
PLACEHOLDERS: Final = (
    "changeme", "change-me", "change_me", "placeholder", "your-secret", "your_secret", "example",
)  # fmt: skip
MIN_SECRET_CHARACTERS: Final = 32
MIN_TOKEN_CHARACTERS: Final = 20
MIN_DISTINCT_CHARACTERS: Final = 10


def strong(value: SecretStr) -> SecretStr:
    """The secret, if it can't be guessed; in every environment.

    Raises:
        ValueError: saying how to make one.
    """
    text = value.get_secret_value()
    if _is_placeholder(text):
        raise ValueError(f"is a placeholder; {MAKE_ONE}")
    if len(text) < MIN_SECRET_CHARACTERS or len(set(text)) < MIN_DISTINCT_CHARACTERS:
        raise ValueError(f"needs {MIN_SECRET_CHARACTERS} random characters or more; {MAKE_ONE}")
    return value


def check(settings: "Settings") -> None:
    """Refuse what must not meet real readers.

    Raises:
        ValueError: saying what to set.
    """
    if settings.debug:
        raise ValueError("DEBUG must be off in production; or set ENVIRONMENT=development")
    if "*" in settings.allowed_hosts:
        raise ValueError("ALLOWED_HOSTS must name the hosts in production, not '*'")
    if {"*", "0.0.0.0/0", "::/0"} & set(settings.forwarded_allow_ips):
        raise ValueError("FORWARDED_ALLOW_IPS must name the proxy's addresses in production, not '*'")
    if settings.session_cookie_secure is False and settings.public_url.startswith("https://"):
        raise ValueError("SESSION_COOKIE_SECURE=false would send the cookie readable; take it out")
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
    if token is not None and (len(token) < MIN_TOKEN_CHARACTERS or _is_placeholder(token)):
        raise ValueError(f"METRICS_TOKEN needs {MIN_TOKEN_CHARACTERS} random characters or more; {MAKE_ONE}")
    for name, url in (
        ("DATABASE_URL", settings.database_url),
        ("DATABASE_REPLICA_URL", settings.database_replica_url),
        ("REDIS_URL", settings.redis_url),
    ):
        if url is not None and _is_placeholder(urlsplit(url.get_secret_value()).password):
            raise ValueError(f"{name} still has a placeholder for a password; give that account a real one")
    if settings.smtp_password and _is_placeholder(settings.smtp_password.get_secret_value()):
        raise ValueError("SMTP_PASSWORD is a placeholder; give that account a real one")


def _is_placeholder(secret: str | None) -> bool:
    return secret is not None and any(word in secret.lower() for word in PLACEHOLDERS)
