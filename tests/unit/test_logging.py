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


def fail(password: str) -> None:
    raise RuntimeError("the cellar is flooded")


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
