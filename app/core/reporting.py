"""Reports of failures to Sentry, if SENTRY_DSN is set: what failed and where, nothing of whom it concerned."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from app.core.config import Settings
from app.core.scrubbing import scrubbed

KEPT: Final = frozenset(
    {"event_id", "timestamp", "platform", "level", "logger", "release", "environment", "exception", "logentry"}
)


def start(settings: Settings) -> None:
    """Send what is logged as an error to Sentry from now on."""
    if settings.sentry_dsn is None:
        return
    # 15 MiB for those who have no Sentry.
    import sentry_sdk  # noqa: PLC0415  # only for those who set it
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415  # only for those who set it

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        environment=settings.environment,
        release=settings.version,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration(level=None, event_level=logging.ERROR)],
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        before_send=lambda event, _hint: reduced(event),  # type: ignore[arg-type,return-value]  # theirs is a TypedDict
    )


def reduced(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event without request, user and machine, its texts scrubbed."""
    kept: dict[str, Any] = scrubbed({name: value for name, value in event.items() if name in KEPT})
    return kept
