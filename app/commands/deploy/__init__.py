"""`library deploy`: what scripts/deploy.sh says, one command a step."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from app.commands.deploy import rollout, rules, steps
from app.commands.deploy.drivers import Compose, Program
from app.commands.deploy.judge import Limits
from app.commands.deploy.rollout import Host
from app.commands.deploy.state import Book, Release, locked

DEFAULTS: Final = Limits()

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

Folder = Annotated[Path, typer.Option(metavar="PATH", help="Where docker-compose.yml, .env and secrets/ stand.")]
By = Annotated[
    str, typer.Option("--driver", metavar="PROGRAM", help="A program that runs the containers instead of Compose.")
]
Image = Annotated[
    str, typer.Option(metavar="IMAGE", help="Image to deploy. [default: the one that `build` made]", show_default=False)
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Sample = Annotated[int, typer.Option(min=0, help="Answers of it that must be seen at least.")]
Errors = Annotated[float, typer.Option(help="Share of failures beyond the stable release's.")]
P99 = Annotated[float, typer.Option(help="Seconds that its p99 may be in any case.")]
Slower = Annotated[float, typer.Option(help="Times the stable release's p99 that its may be.")]
Seconds = Annotated[float, typer.Option(help="How long it is watched.")]
Replicas = Annotated[int, typer.Option(min=1, metavar="N", help="Containers that answer.")]


@app.callback(epilog="`scripts/deploy.sh STEP --help` explains a step; docs/deploy.md tells the whole way.")
def deploy() -> None:
    """Bring a release to a host with Docker Compose, and take it back.

    Two colours, blue and green: one answers, the next release starts in the other, and nginx switches over. Each step
    may be run again; one that was cut short goes on where it stopped. Two deploys never run at once.

    \b
    Examples:
      scripts/deploy.sh full                      check, build, test, back up, migrate, switch, look
      scripts/deploy.sh canary --percent 10       a tenth of the requests first; promoted or taken back by itself
      scripts/deploy.sh rollback                  the release before, in seconds
      scripts/deploy.sh full --dry-run            what all of that would do
    """


@app.command()
def check(*, folder: Folder = Path(), driver: By = "", dry_run: Dry = False) -> None:
    """See whether a deploy could begin: files, disk, engine, nothing cut short."""
    steps.check(_host(folder, driver, is_dry=dry_run))
    typer.echo("Ready to deploy.")


@app.command()
def build(*, image: Image = steps.BUILT, folder: Folder = Path(), driver: By = "", dry_run: Dry = False) -> None:
    """Build the image from this checkout, and keep it under a name of its own."""
    _locked(folder, driver, lambda host: steps.build(host, image), is_dry=dry_run)


@app.command("test")
def trial(*, image: Image = "", folder: Folder = Path(), driver: By = "", dry_run: Dry = False) -> None:
    """Try the built image by itself: migrations, demonstration, first answers. Production isn't touched."""
    _locked(folder, driver, lambda host: steps.trial(host, steps.chosen(host, image)), is_dry=dry_run)


@app.command()
def migrate(*, image: Image = "", folder: Folder = Path(), driver: By = "", dry_run: Dry = False) -> None:
    """Back up, then bring the schema to the image's; the release that runs goes on serving."""

    def work(host: Host) -> None:
        release = steps.chosen(host, image)
        host.once("backup", lambda: rollout.backup(host))
        host.once("migrate", lambda: rollout.migrate(host, release))

    _locked(folder, driver, work, is_dry=dry_run)


@app.command()
def seed(*, image: Image = "", folder: Folder = Path(), driver: By = "", dry_run: Dry = False) -> None:
    """Load the demonstration; refused in production and where the library holds anything."""
    _locked(folder, driver, lambda host: steps.seed(host, _running(host, image)), is_dry=dry_run)


@app.command()
def start(
    *, image: Image = "", replicas: Replicas = 2, folder: Folder = Path(), driver: By = "", dry_run: Dry = False
) -> None:
    """Start everything: for the first time, or after the machine was off."""

    def work(host: Host) -> None:
        steps.start(host, _running(host, image))

    _locked(folder, driver, work, is_dry=dry_run, replicas=replicas)


@app.command()
def health(*, folder: Folder = Path(), driver: By = "", dry_run: Dry = False) -> None:
    """Show how each service is; ends with 1 if one isn't well."""
    steps.health(_host(folder, driver, is_dry=dry_run))


@app.command()
def full(
    *, image: Image = "", replicas: Replicas = 2, folder: Folder = Path(), driver: By = "", dry_run: Dry = False
) -> None:
    """All of it: check, build (unless an image is named), test, then start or blue-green, health."""

    def work(host: Host) -> None:
        steps.check(host)
        steps.adopt(host)
        if not image and not host.state.under_way:
            steps.build(host, steps.BUILT)
        release = steps.chosen(host, image)
        steps.trial(host, release)
        if host.state.running:
            rollout.blue_green(host, release)
        else:
            steps.start(host, release)
        steps.health(host)
        steps.summary(host)

    _locked(folder, driver, work, is_dry=dry_run, replicas=replicas)


@app.command("blue-green")
def blue_green(
    *, image: Image = "", replicas: Replicas = 2, folder: Folder = Path(), driver: By = "", dry_run: Dry = False
) -> None:
    """Start the image in the other colour, switch all requests over, end the old one."""

    def work(host: Host) -> None:
        steps.adopt(host)
        release = steps.chosen(host, image)
        steps.trial(host, release)
        rollout.blue_green(host, release)
        steps.summary(host)

    _locked(folder, driver, work, is_dry=dry_run, replicas=replicas)


@app.command()
def canary(
    *,
    image: Image = "",
    percent: Annotated[int, typer.Option(min=1, max=50, help="Share of the requests that it gets.")] = 10,
    prometheus: Annotated[
        str,
        typer.Option(
            metavar="URL", envvar="PROMETHEUS_URL", help="Prometheus that judges it instead of the proxy's log."
        ),
    ] = "",
    seconds: Seconds = DEFAULTS.seconds,
    sample: Sample = DEFAULTS.sample,
    errors: Errors = DEFAULTS.errors,
    p99: P99 = DEFAULTS.p99_seconds,
    slower: Slower = DEFAULTS.slower,
    replicas: Replicas = 2,
    folder: Folder = Path(),
    driver: By = "",
    dry_run: Dry = False,
) -> None:
    """Give the image a share of the requests, watch it, and promote it or take it back.

    Prometheus judges it if told where that runs, else the proxy's access log. Bad: it fails or dawdles more often than
    the release that runs, beyond the limits; then it is gone at once, and this ends with 1. Good: none of that, over
    the whole time and sample.
    """
    limits = Limits(sample=sample, seconds=seconds, errors=errors, p99_seconds=p99, slower=slower)

    def work(host: Host) -> None:
        steps.adopt(host)
        release = steps.chosen(host, image)
        steps.trial(host, release)
        rollout.canary(host, release, percent=percent, limits=limits, prometheus=prometheus)
        steps.summary(host)

    _locked(folder, driver, work, is_dry=dry_run, replicas=replicas)


@app.command()
def judge(
    *,
    prometheus: Annotated[str, typer.Option(metavar="URL", envvar="PROMETHEUS_URL", help="Prometheus that is asked.")],
    canary: Annotated[
        str, typer.Option(metavar="LABELS", help="What tells the new release: 'service=\"api-canary\"'.")
    ] = "",
    stable: Annotated[str, typer.Option(metavar="LABELS", help="What tells the release that runs.")] = "",
    pause: Annotated[float, typer.Option(help="Seconds between two looks.")] = 5,
    seconds: Seconds = DEFAULTS.seconds,
    sample: Sample = DEFAULTS.sample,
    errors: Errors = DEFAULTS.errors,
    p99: P99 = DEFAULTS.p99_seconds,
    slower: Slower = DEFAULTS.slower,
) -> None:
    """Watch a canary that something else runs, by the same rules; ends with 1 as soon as it is bad.

    Without --canary it only says whether one could be judged: while an alert pages it ends with 1.
    """
    if not canary:
        if not rules.is_quiet(prometheus):
            raise rollout.PagedAlready
        return
    limits = Limits(sample=sample, seconds=seconds, errors=errors, p99_seconds=p99, slower=slower)
    verdict = rules.watch(rules.Rules(canary, stable, limits), prometheus, pause_seconds=pause)
    typer.echo(verdict.why)
    if not verdict.is_good:
        raise typer.Exit(1)


@app.command()
def rollback(*, replicas: Replicas = 2, folder: Folder = Path(), driver: By = "", dry_run: Dry = False) -> None:
    """Bring back the release before this one, or undo a deploy that was cut short. The schema stays as it is."""

    def work(host: Host) -> None:
        rollout.rollback(host)
        steps.summary(host)

    _locked(folder, driver, work, is_dry=dry_run, replicas=replicas)


@app.command()
def status(*, folder: Folder = Path(), driver: By = "") -> None:
    """Show what answers, what can be gone back to, and how the last deploys ended."""
    steps.status(_host(folder, driver))


def _host(folder: Path, driver: str, *, is_dry: bool = False, replicas: int = 2) -> Host:
    dry = typer.echo if is_dry else None
    by = Program(driver, folder, dry=dry) if driver else Compose(folder, dry=dry)
    return Host(folder, by, Book(folder), typer.echo, replicas, is_dry)


def _locked(
    folder: Path, driver: str, work: Callable[[Host], None], *, is_dry: bool = False, replicas: int = 2
) -> None:
    with locked(folder):
        work(_host(folder, driver, is_dry=is_dry, replicas=replicas))


def _running(host: Host, image: str) -> Release:
    """What runs, or on a host that nothing was deployed to, what was built or stands in .env."""
    if host.state.running and not image:
        return host.state.running
    return steps.chosen(host, image or ("" if host.state.candidate else steps.first_image(host)))
