"""Searching as fast as a test can: without the limiter, which has tests of its own."""

import pytest

from app.core.config import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit_enabled": False})
