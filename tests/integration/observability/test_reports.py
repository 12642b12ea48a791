"""Reports of failures, as Sentry would receive them."""

import logging
from collections.abc import Iterator

import pytest
import sentry_sdk
import structlog
from pydantic import SecretStr

from app.core import reporting
from app.core.config import Settings
from app.core.logging import configure_logging
from tests.integration.observability.collector import collector

ADDRESS = "anna.reader@library.test"
CANARY = "canary-7261"


@pytest.fixture
def loggers() -> Iterator[None]:
    """Logging and Sentry, put back as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    sentry_sdk.get_client().close(timeout=2)
    sentry_sdk.init(default_integrations=False)  # the default ones would stay in every application of this process


def fail(password: str) -> None:
    raise RuntimeError(f"no mailbox of {ADDRESS}")


@pytest.mark.usefixtures("loggers")
def test_a_report_says_what_failed_and_nothing_of_whom_it_concerned() -> None:
    with collector() as taking:
        dsn = SecretStr(f"http://key@{taking.address}/1")
        settings = Settings(_env_file=None, sentry_dsn=dsn)
        configure_logging(settings)
        reporting.start(settings)
        # Those of Starlette and FastAPI read every body, an import of 2 GB too, before the service does.
        assert set(sentry_sdk.get_client().integrations) == {"logging"}
        try:
            fail(CANARY)
        except RuntimeError:
            structlog.get_logger("app").exception("unhandled_exception", email=ADDRESS, password=CANARY)
        sentry_sdk.flush(timeout=5)
    told = b"".join(body for _, body in taking.taken).decode()
    assert "RuntimeError" in told
    assert "no mailbox of ***" in told
    assert ADDRESS not in told
    assert CANARY not in told
