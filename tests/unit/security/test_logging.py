"""What must never stand in the logs."""

import io
import logging
import sys

import pytest
import structlog
from pydantic import SecretStr

from app.core.config import Settings
from app.core.logging import configure_logging

CANARY = "canary-51d0-a-secret-that-no-log-may-show"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_logged_exception_shows_no_variable_of_any_frame(monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging(Settings(_env_file=None, secret_key=SecretStr(CANARY), log_format=log_format))
        try:
            _fail(CANARY)
        except ValueError:
            structlog.get_logger("test").exception("unhandled_exception")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    assert "something is wrong" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def _fail(password: str) -> None:
    if password:
        raise ValueError("something is wrong")
