"""Logs of failures: what happened and where, never the values that were at hand."""

import logging
from collections.abc import Iterator
from io import StringIO
from typing import Literal

import pytest
import structlog

from app.core.config import Settings
from app.core.logging import configure_logging

CANARY = "canary-7261"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers[:], root.level = handlers, level


def fail(password: str, reason: str = "the cellar is flooded") -> None:
    raise RuntimeError(reason)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_no_values(log_format: Literal["text", "json"], root_logger: logging.Logger) -> None:
    stream = StringIO()
    configure_logging(Settings(_env_file=None, log_format=log_format), stream=stream)
    try:
        fail(CANARY)
    except RuntimeError:
        structlog.get_logger().exception("unhandled_exception")
    assert "the cellar is flooded" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_a_traceback_before_any_configuration_shows_no_values_either(caplog: pytest.LogCaptureFixture) -> None:
    try:
        fail(CANARY)
    except RuntimeError:
        structlog.get_logger().exception("unhandled_exception")
    assert "the cellar is flooded" in caplog.text
    assert CANARY not in caplog.text


FORGED = "a title\n2026-01-01T00:00:00Z [error    ] forged\x1b[2J"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nobody_can_forge_a_line(log_format: Literal["text", "json"], root_logger: logging.Logger) -> None:
    stream = StringIO()
    configure_logging(Settings(_env_file=None, log_format=log_format), stream=stream)
    logging.getLogger("uvicorn.error").warning("%s", FORGED)
    structlog.get_logger().warning("request", title=FORGED)
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b[2J" not in stream.getvalue()


def test_a_failure_s_text_cannot_forge_a_line_either(root_logger: logging.Logger) -> None:
    stream = StringIO()
    configure_logging(Settings(_env_file=None, log_format="text"), stream=stream)
    try:
        fail(CANARY, FORGED)
    except RuntimeError:
        structlog.get_logger().exception("unhandled_exception")
    assert not [line for line in stream.getvalue().splitlines() if line.startswith("2026-01-01")]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_and_addresses_are_masked_wherever_they_stand(
    log_format: Literal["text", "json"], root_logger: logging.Logger
) -> None:
    stream = StringIO()
    configure_logging(Settings(_env_file=None, log_format=log_format), stream=stream)
    structlog.get_logger().error(
        "mail_failed",
        reason=f"550 <anna@library.test> unknown, sent with Bearer {CANARY}",
        url=f"postgresql://library:{CANARY}@db/library",
        deep={"password": CANARY, "items": [f"eyJhbGciOi.eyJ{CANARY}.sig"]},
    )
    assert "anna@" not in stream.getvalue()
    assert CANARY not in stream.getvalue()
    assert "550" in stream.getvalue()
