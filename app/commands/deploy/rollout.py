"""How a release takes the place of another: two colours, one of which answers, and a file that says who does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.commands.deploy import members, rules
from app.commands.deploy.drivers import PROXY, CommandFailed, Driver, run
from app.commands.deploy.judge import Limits, Verdict, judge, read
from app.commands.deploy.state import SERVICES, Book, Colour, Record, Release, State, UnderWay, replace
from app.core.errors import Conflict, Unavailable

DRAIN_SECONDS: Final = 35  # nginx.conf gives an old worker 30
LOOK_SECONDS: Final = 1.0
SCHEDULER: Final = "scheduler"


class CutShort(Conflict):
    code, detail = (
        "deploy_cut_short",
        (
            "A {verb} to {release} was cut short. Say `{verb}` with the same image again to go on,"
            " or `rollback` to undo it."
        ),
    )


class NothingToGoBackTo(Conflict):
    code, detail = "nothing_to_go_back_to", "No release ran here before {release}. Deploy the one that you want."


class CanaryRefused(Unavailable):
    code, detail = (
        "canary_refused",
        "{release} was taken back after {seconds:.0f} s: {why}. {running} answers as before.",
    )


class PagedAlready(Conflict):
    code, detail = (
        "deploy_paged_already",
        "An alert pages already: no canary could be judged, and nothing was changed. `blue-green` asks nobody.",
    )


class NotHealthy(Unavailable):
    code, detail = "release_not_healthy", "{release} does not become healthy; {running} answers as before.\n{said}"


@dataclass(frozen=True, slots=True)
class Host:
    """Where a deploy happens, and by what means."""

    folder: Path
    driver: Driver
    book: Book
    say: Callable[[str], None]
    replicas: int = 2
    is_dry: bool = False

    @property
    def state(self) -> State:
        return self.book.state

    def save(self) -> None:
        if not self.is_dry:
            self.book.save()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        self.say(f"· {what}")
        yield
        if not self.is_dry:
            self.say(f"  done in {time.monotonic() - began:.1f} s")

    def once(self, name: str, work: Callable[[], None]) -> None:
        """Do a step of the deploy that is under way, unless it was done before that was cut short."""
        under_way = self.state.under_way
        if under_way and name in under_way.done:
            self.say(f"· {name}: done already")
            return
        with self.step(name):
            work()
        if under_way:
            under_way.done.append(name)
            self.save()


def blue_green(host: Host, release: Release, *, verb: str = "blue-green") -> None:
    """Start the release beside the one that answers, switch all requests over, and end the old one when it is idle."""
    began = time.monotonic()
    begin(host, verb, release)
    if verb != "rollback":
        host.once("backup", lambda: backup(host))
        host.once("migrate", lambda: migrate(host, release))
    _start_beside(host, release, host.replicas)
    seconds = _switch_over(host, release)
    _record(host, "switched", release, began, switch_seconds=seconds)


def canary(host: Host, release: Release, *, percent: int, limits: Limits, prometheus: str = "") -> None:
    """Give the release a share of the requests, watch how it answers them, and promote it or take it back.

    Prometheus judges it, if it is told where that answers; else the proxy's log does.

    Raises:
        CanaryRefused: it was taken back.
        PagedAlready: something is wrong already.
    """
    began = time.monotonic()
    if prometheus and not host.is_dry and not rules.is_quiet(prometheus):
        raise PagedAlready
    begin(host, "canary", release)
    host.once("backup", lambda: backup(host))
    host.once("migrate", lambda: migrate(host, release))
    _start_beside(host, release, 1)
    verdict, watched = _watch(host, percent, limits, prometheus)
    if not verdict.is_good:
        _take_back(host)
        _record(host, f"taken back: {verdict.why}", release, began)
        raise CanaryRefused(release=release, seconds=watched, why=verdict.why, running=host.state.running)
    host.say(f"· promoted: {verdict.why}")
    with host.step(f"scale {host.state.idle} to {host.replicas}"):
        host.driver.scale(SERVICES[host.state.idle], host.replicas)
    seconds = _switch_over(host, release)
    _record(host, "promoted", release, began, switch_seconds=seconds)


def rollback(host: Host) -> None:
    """Undo the deploy that was cut short, or bring back the release before this one; the schema stays as it is.

    Raises:
        NothingToGoBackTo: there is neither.
    """
    state = host.state
    under_way = state.under_way
    if under_way and under_way.verb != "rollback":
        began = time.monotonic()
        if state.running:
            with host.step(f"start {state.live}: {state.running}"):
                host.driver.up(SERVICES[state.live], state.running.image, host.replicas)
                host.driver.up(SCHEDULER, state.running.image)
        _take_back(host)
        _record(host, f"undone ({under_way.verb})", under_way.release, began)
        return
    release = under_way.release if under_way else state.previous
    if release is None:
        raise NothingToGoBackTo(release=state.running or "this one")
    blue_green(host, release, verb="rollback")
    state.previous = None  # saying it twice doesn't bring the bad one back
    host.save()


def begin(host: Host, verb: str, release: Release) -> None:
    """Note what is under way, or go on with it if it is the same.

    Raises:
        CutShort: it is something else.
    """
    state = host.state
    if state.under_way is None:
        state.under_way = UnderWay(verb=verb, release=release)
        host.save()
    elif (state.under_way.verb, state.under_way.release) != (verb, release):
        raise CutShort(verb=state.under_way.verb, release=state.under_way.release)
    else:
        host.say(f"Going on with the {verb} to {release}.")


def backup(host: Host) -> None:
    script = host.folder / "scripts" / "backup.sh"
    if script.exists() or host.is_dry:
        run(["scripts/backup.sh"], folder=host.folder, dry=host.say if host.is_dry else None)
    else:
        host.say("  there is no scripts/backup.sh; nothing was backed up")


def migrate(host: Host, release: Release) -> None:
    if said := host.driver.run_once("migrate", release.image).strip():
        host.say(f"  {said.splitlines()[-1]}")


def write_members(host: Host, weights: dict[str, int]) -> tuple[float, list[str]]:
    """Tell the proxy who answers; returns the seconds until that holds, and the old workers."""
    if host.is_dry:
        host.say("  nginx/upstream/members.conf: " + ", ".join(f"{name} ×{each}" for name, each in weights.items()))
    else:
        replace(host.folder / "nginx" / "upstream" / "members.conf", members.text(weights))
    began = time.monotonic()
    workers = host.driver.reload_proxy()
    return time.monotonic() - began, workers


def _start_beside(host: Host, release: Release, count: int) -> None:
    idle = host.state.idle
    with host.step(f"start {idle}: {release}"):
        try:
            host.driver.up(SERVICES[idle], release.image, count)
        except CommandFailed as error:
            host.driver.stop(SERVICES[idle])
            host.state.under_way = None
            host.save()
            raise NotHealthy(release=release, running=host.state.running, said=error) from error


def _switch_over(host: Host, release: Release) -> float:
    state = host.state
    with host.step(f"switch to {state.idle}"):
        seconds, workers = write_members(host, {SERVICES[state.idle]: 1})
    with host.step(f"scheduler: {release}"):
        host.driver.up(SCHEDULER, release.image)
    _stop(host, state.live, workers)
    state.live, state.previous, state.running = state.idle, state.running, release
    return seconds


def _watch(host: Host, percent: int, limits: Limits, prometheus: str) -> tuple[Verdict, float]:
    """Let the canary answer its share until the judge has made up his mind."""
    names: dict[str, Colour] = {"stable": host.state.live, "canary": host.state.idle}
    addresses = {role: host.driver.addresses(SERVICES[colour]) for role, colour in names.items()}
    counts = {role: len(found) or 1 for role, found in addresses.items()}
    stable, fresh = members.weights(percent, stable=counts["stable"], canary=counts["canary"])
    since, began = datetime.now(UTC).replace(microsecond=0), time.monotonic()
    with host.step(f"{percent} % to {host.state.idle}, watched for {limits.seconds:.0f} s"):
        write_members(host, {SERVICES[host.state.live]: stable, SERVICES[host.state.idle]: fresh})
        while True:
            watched = time.monotonic() - began
            if host.is_dry:
                return Verdict(is_good=True, why="nothing was watched"), watched
            if prometheus:
                told = {role: rules.instances(found) for role, found in addresses.items()}
                verdict = rules.judge(rules.Rules(**told, limits=limits), prometheus, watched)
            else:
                lines = host.driver.logs(PROXY, since).splitlines()
                seen = {role: read(lines, found, since) for role, found in addresses.items()}
                verdict = judge(seen["canary"], seen["stable"], limits, watched)
            if verdict.is_good is not None:
                return verdict, watched
            time.sleep(LOOK_SECONDS)


def _take_back(host: Host) -> None:
    state = host.state
    with host.step(f"back to {state.live}"):
        _, workers = write_members(host, {SERVICES[state.live]: 1})
    _stop(host, state.idle, workers)


def _stop(host: Host, colour: Colour, workers: list[str]) -> None:
    """End a colour that is no member any more, once the workers who know it as one are gone."""
    with host.step(f"stop {colour}"):
        deadline = time.monotonic() + DRAIN_SECONDS
        while host.driver.are_there(workers) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS / 4)
        host.driver.stop(SERVICES[colour])


def _record(host: Host, outcome: str, release: Release, began: float, *, switch_seconds: float | None = None) -> None:
    state = host.state
    verb = state.under_way.verb if state.under_way else ""
    state.under_way = None
    host.book.record(
        Record(
            at=datetime.now(UTC),
            verb=verb,
            release=release,
            outcome=outcome,
            seconds=round(time.monotonic() - began, 2),
            switch_seconds=None if switch_seconds is None else round(switch_seconds, 3),
        )
    )
    host.save()
