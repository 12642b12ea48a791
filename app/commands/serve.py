"""`library serve`: settles where to listen and who shares the metrics, then hands over to the server."""

import os
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from app.commands import sockets
from app.core.config import Settings, load_settings
from app.core.errors import Unavailable

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# Files of this shape are removed from the folder at start. Any other *.db would break every scrape.
METRICS_FILE: Final = re.compile(r"(counter|gauge_[a-z]+|histogram|summary)_\d+\.db")


class MetricsFolderUnusable(Unavailable):
    code, detail = (
        "metrics_folder_unusable",
        (
            "The folder {folder}, through which the workers share their metrics, can't be used: {reason}."
            " Set PROMETHEUS_MULTIPROC_DIR or DATA_DIR to one that this user may write to."
        ),
    )


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on. [default: HOST, or 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Port to listen on; 0 takes a free one. [default: PORT, or 8000]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes that answer. [default: WEB_CONCURRENCY, or 1]")
    ] = None,
    *,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when the code changes; for development.")] = False,
    migrate: Annotated[bool, typer.Option("--migrate", help="Migrate the database first, if it needs that.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Migrate, load the demonstration into an empty library, say how to sign in.")
    ] = False,
) -> None:
    """Answer requests until told to stop.

    SIGTERM makes /health/ready answer 503, waits SHUTDOWN_DELAY seconds for the load balancer to notice, then
    finishes the requests that are under way, GRACEFUL_TIMEOUT seconds at most. Ctrl-C does not wait for the load
    balancer; a second signal stops at once.

    \b
    Examples:
      library serve --migrate
      library serve --host 0.0.0.0 --port 8080 --workers 4
      ENVIRONMENT=development library serve --demo
    """
    for name, value in (("HOST", host), ("PORT", port), ("WEB_CONCURRENCY", workers)):
        if value is not None:
            _set(name, str(value))
    settings = load_settings()
    if reload and settings.web_concurrency > 1:
        raise typer.BadParameter("works with one worker only", param_hint="--reload")
    with sockets.bound(settings.host, settings.port) as bound:
        if settings.port == 0:
            _set("PORT", str(bound[0].getsockname()[1]))
            settings = load_settings()
        share_metrics(settings)
        # app.core.metrics, and with it the database, must not be imported before the metrics' folder stands.
        from app.commands import server  # noqa: PLC0415

        server.serve(settings, bound, may_migrate=migrate, is_demo=demo, is_reloading=reload)


def _set(name: str, value: str) -> None:
    """The command line wins over the environment, also for the workers and for what reads the settings again."""
    os.environ[name] = value
    os.environ.pop(f"{name}_FILE", None)


def share_metrics(settings: Settings) -> None:
    """Give several processes an empty folder for their metrics; a port of its own keeps two services apart."""
    if settings.prometheus_multiproc_dir is None and settings.web_concurrency == 1:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        return
    folder = settings.prometheus_multiproc_dir or settings.data_dir / "metrics" / str(settings.port)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(parents=True, exist_ok=True)
        old = list(folder.glob("*.db"))
        if stranger := next((path.name for path in old if not METRICS_FILE.fullmatch(path.name)), None):
            raise MetricsFolderUnusable(folder=folder, reason=f"it holds {stranger}, which is something else")
        for path in old:
            path.unlink()
    except OSError as error:
        raise MetricsFolderUnusable(folder=folder, reason=error.strerror or error) from error
    _set("PROMETHEUS_MULTIPROC_DIR", str(Path(folder).absolute()))
