"""Fixtures of these tests: the command line on a migrated, empty library."""

import pytest

from app.core.config import Settings
from tests.integration.commands.command_line import CommandLine


@pytest.fixture
def library(settings: Settings) -> CommandLine:
    """A migrated, empty library."""
    return CommandLine.of(settings)
