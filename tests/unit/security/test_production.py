"""What production refuses to start with."""

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.core.config import Environment, Settings

GOOD = "Zq8vT2mLx4RbNw6K-0f9d1c7e-for-tests-only"


def _settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"debug": True}, "DEBUG"),
        ({"allowed_hosts": ("*",)}, "ALLOWED_HOSTS"),
        ({"forwarded_allow_ips": ("*",)}, "FORWARDED_ALLOW_IPS"),
        ({"forwarded_allow_ips": ("0.0.0.0/0",)}, "FORWARDED_ALLOW_IPS"),
        ({"session_cookie_secure": False, "public_url": "https://library.test"}, "SESSION_COOKIE_SECURE"),
        ({"metrics_token": SecretStr("short")}, "METRICS_TOKEN"),
        ({"metrics_token": SecretStr("changeme-changeme-changeme")}, "METRICS_TOKEN"),
        ({"redis_url": SecretStr("redis://:changeme@cache:6379/0")}, "REDIS_URL"),
        (
            {"database_url": SecretStr("postgresql://library:change-me@db/library"), "secret_key": SecretStr(GOOD)},
            "DATABASE_URL",
        ),
    ],
)
def test_production_refuses_and_says_what_to_set(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        _settings(environment=Environment.PRODUCTION, **values)
    _settings(environment=Environment.DEVELOPMENT, **values)


@pytest.mark.parametrize("environment", list(Environment))
@pytest.mark.parametrize("name", ["secret_key", "encryption_key", "secret_keys_old"])
@pytest.mark.parametrize("weak", ["short", "changeme" * 8, "a" * 64, "your-secret-key-your-secret-key-1234567890"])
def test_a_weak_key_is_refused_everywhere(environment: Environment, name: str, weak: str) -> None:
    value: Any = (SecretStr(weak),) if name == "secret_keys_old" else SecretStr(weak)
    with pytest.raises(ValidationError, match=r"random characters|placeholder"):
        _settings(environment=environment, **{name: value})


def test_postgresql_needs_a_key_that_all_processes_share() -> None:
    with pytest.raises(ValidationError, match="SECRET_KEY must be set"):
        _settings(database_url=SecretStr("postgresql://library@db/library"))


def test_no_secret_shows_in_what_is_printed_of_the_settings() -> None:
    names = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert len(names) >= 7
    values: dict[str, Any] = {name: SecretStr(f"canary-{name}-{GOOD}") for name in names}
    values |= {
        "secret_keys_old": (values["secret_keys_old"],),
        "database_url": SecretStr(f"postgresql://library:canary-{GOOD}@db/library"),
        "database_replica_url": SecretStr(f"postgresql://library:canary-{GOOD}@replica/library"),
        "redis_url": SecretStr(f"redis://:canary-{GOOD}@cache/0"),
        "storage_url": SecretStr(f"s3://key:canary-{GOOD}@bucket/files"),
        "smtp_user": "library", "smtp_host": "mail.test", "email_from": "library@library.test",
    }  # fmt: skip
    settings = _settings(**values)
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "canary" not in text
