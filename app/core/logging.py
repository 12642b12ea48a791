"""The logs: structlog lines on stdout, text for people or JSON for machines; the standard library's go the same way."""

import logging
import signal
import sys
import textwrap
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, TextIO

import structlog

from app.core import metrics
from app.core.config import Settings
from app.core.scrubbing import on_one_line, scrubbed

OURS: Final = logging.getLogger("app")
# The ids that every line of a request carries; one variable, which costs a tenth of what structlog's own do.
REQUEST: Final[ContextVar[Mapping[str, str]]] = ContextVar("REQUEST", default=MappingProxyType({}))
SERVERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn", "gunicorn.error", "gunicorn.access")


def _scrub(_logger: Any, _method: str, line: Any) -> Any:
    return scrubbed(line)


def _guard_lines(_logger: Any, _method: str, line: Any) -> Any:
    """In text, a line break in what somebody sent us must not begin a line that looks like ours."""
    line["event"] = on_one_line(str(line["event"]))
    if "exception" in line:
        line["exception"] = textwrap.indent(line["exception"], "    ", lambda _line: True)
    return line


def _add_request(_logger: Any, _method: str, line: Any) -> Any:
    return {**REQUEST.get(), **line}


# Failures are written as plain tracebacks. structlog's own choice for people shows the values of all variables too,
# passwords and tokens among them, and took a minute for one request.
_SHARED: Final[list[Any]] = [
    _add_request,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    _scrub,
]

# At import, so that no line is ever written in another way, be it before `configure_logging`.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_SHARED,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def configure_logging(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send every log line of the process through one renderer, to stdout unless told otherwise. Idempotent."""
    stream = stream or sys.stdout
    for_people = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    render: list[Any] = (
        [structlog.processors.JSONRenderer(ensure_ascii=False)]
        if settings.log_format == "json"
        else [_guard_lines, for_people]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    handler.addFilter(_count)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("DEBUG" if settings.debug else settings.log_level)
    for name in SERVERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # They write down values of statements, letters and forms: names and password hashes. Only DEBUG=true shows those.
    quiet = logging.NOTSET if settings.debug else max(logging.WARNING, root.level)
    for name in ("aiosqlite", "aiosmtplib", "python_multipart", "sqlalchemy"):
        logging.getLogger(name).setLevel(quiet)
    # It announces itself twice a run; `library migrate` says what happened.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # One line a request on the hot path costs a quarter of the throughput (performance.md §1); the shell logs the
    # slow and the failed.
    logging.getLogger("uvicorn.access").disabled = True


def switch_level_on_signal() -> None:
    """Let SIGUSR1 make this program's own lines detailed, and the next one plain again.

    Only ours: what libraries say at that level holds statements and their values.
    """
    signal.signal(signal.SIGUSR1, lambda *_: _switch_level())


def _switch_level() -> None:
    is_detailed = OURS.level == logging.DEBUG
    OURS.setLevel(logging.NOTSET if is_detailed else logging.DEBUG)
    structlog.get_logger("app").warning("log_level_switched", to="as set" if is_detailed else "DEBUG")


def _count(record: logging.LogRecord) -> bool:
    metrics.log_lines(record.levelname.lower()).inc()
    return True
