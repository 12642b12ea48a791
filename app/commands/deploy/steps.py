"""The steps around a release: what must be there before one, and what shows that it is well after one."""

import re
import shutil
from typing import Final

from app.commands import tables
from app.commands.deploy.drivers import PROXY, run
from app.commands.deploy.rollout import SCHEDULER, Host
from app.commands.deploy.state import SERVICES, Release
from app.core.errors import Conflict, Unavailable

NEEDED: Final = ("docker-compose.yml", ".env", "env/library.env", "secrets/secret_key", "nginx/upstream/members.conf")
LEAST_FREE_BYTES: Final = 2 * 2**30
BUILT: Final = "localhost/library:latest"
# The new image by itself, on an embedded database that goes when it ends: nothing of production's is named to it.
TRIAL: Final = (
    "env", "--unset=DATABASE_URL_FILE", "--unset=REDIS_URL_FILE", "ENVIRONMENT=development", "DATA_DIR=/tmp/trial",
    "SHUTDOWN_DELAY=0", "sh", "-euc", """
library migrate; library seed; library doctor
library serve --host 127.0.0.1 --port 8099 & server=$!
trap 'kill $server; wait $server || true' EXIT
python - <<'END'
import json, time, urllib.request
for _ in range(1200):
    time.sleep(0.1)
    try:
        ready = urllib.request.urlopen("http://127.0.0.1:8099/health/ready", timeout=2)
        break
    except OSError:
        pass
books = json.load(urllib.request.urlopen("http://127.0.0.1:8099/api/v1/books", timeout=5))["items"]
print(f"ready, and {len(books)} books on the first page")
assert books
END
""",
)  # fmt: skip


class NotPrepared(Conflict):
    code, detail = "host_not_prepared", "This folder is not ready for a deploy: {what}.\n{advice}"


class NotWell(Unavailable):
    code, detail = "deploy_not_well", "Not well: {which}. Look at their logs, and at docs/runbook.md."


class NoImage(Conflict):
    code, detail = "no_image", "Say which image: run the step `build` first, or name one with --image."


def check(host: Host) -> None:
    """Raise unless a deploy could begin now: files, disk, engine, and no deploy that was cut short."""
    missing = [name for name in NEEDED if not (host.folder / name).exists()]
    if missing:
        advice = "`make env ENVIRONMENT=production PUBLIC_URL=https://…` makes .env, env/ and secrets/."
        raise NotPrepared(what=f"there is no {', '.join(missing)}", advice=advice)
    free = shutil.disk_usage(host.folder).free
    if free < LEAST_FREE_BYTES:
        raise NotPrepared(what=f"only {free >> 20} MiB are free", advice="Images and backups need room; free 2 GiB.")
    host.driver.check()
    if host.state.under_way:
        host.say(f"A {host.state.under_way.verb} to {host.state.under_way.release} was cut short.")


def build(host: Host, image: str) -> None:
    """Build the image and keep its name by content: whatever is built later, this name stays this image."""
    name, _, tag = image.rpartition(":")
    host.say(run(["scripts/image.sh", image], folder=host.folder, dry=host.say if host.is_dry else None).strip())
    release = Release(image=image, digest=host.driver.digest(image))
    kept = f"{name or tag}:{release.digest.removeprefix('sha256:')[:12]}"
    host.driver.tag(image, kept)
    host.state.candidate = Release(image=kept, digest=release.digest)
    host.save()


def chosen(host: Host, image: str) -> Release:
    """The release that is meant: the image named, or the one under way, or the one built last.

    Raises:
        NoImage.
    """
    under_way = host.state.under_way
    if not image and under_way and under_way.verb != "rollback":
        return under_way.release
    if not image and host.state.candidate:
        image = host.state.candidate.image
    if not image:
        raise NoImage
    return Release(image=image, digest=host.driver.digest(image))


def trial(host: Host, release: Release) -> None:
    """Try the image that is to be deployed, that very one, on a database of its own."""
    if host.state.tested == release.digest:
        host.say(f"· test: {release} was tested already")
        return
    with host.step(f"test: {release}"):
        said = host.driver.run_once("migrate", release.image, *TRIAL).splitlines()
        host.say(next((f"  {line}" for line in said if line.startswith("ready")), "  it is not known what it said"))
    host.state.tested = release.digest
    host.save()


def seed(host: Host, release: Release) -> None:
    """The demonstration; `library seed` refuses a library that holds something, and production."""
    host.say(host.driver.run_once(SCHEDULER, release.image, "library", "seed").strip())


def start(host: Host, release: Release) -> None:
    """Start all that docker-compose.yml names; for the first time, or after the machine was off."""
    with host.step(f"start everything: {release}"):
        host.driver.up("", release.image, host.replicas)
    host.state.running = host.state.running or release
    host.save()


def adopt(host: Host) -> None:
    """Take what `docker compose up` started, on a host that no deploy was made to yet, for the release that runs."""
    image = "" if host.state.running or host.is_dry else first_image(host)
    if image and host.driver.healthy(SERVICES[host.state.live]):
        host.state.running = Release(image=image, digest=host.driver.digest(image))
        host.save()


def first_image(host: Host) -> str:
    """The image in .env, for a host that nothing was deployed to yet."""
    found = re.search(r"^LIBRARY_IMAGE=(\S+)$", (host.folder / ".env").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def health(host: Host) -> None:
    """Show how each service is.

    Raises:
        NotWell: at least one isn't.
    """
    services = ["db", "replica", "pgbouncer", "redis", SERVICES[host.state.live], SCHEDULER, PROXY]
    found = {service: host.driver.healthy(service) for service in services}
    tables.show(("Service", ""), [(service, "well" if is_well else "NOT WELL") for service, is_well in found.items()])
    if ill := [service for service, is_well in found.items() if not is_well]:
        raise NotWell(which=", ".join(ill))


def status(host: Host) -> None:
    """Show what runs, what ran before it, what is under way, and how the last deploys ended."""
    state = host.state
    rows = [
        ("answers", f"{state.live}: {state.running or 'nothing was deployed yet'}"),
        ("to go back to", str(state.previous or "nothing")),
        ("built", str(state.candidate or "nothing")),
        ("under way", f"{state.under_way.verb} to {state.under_way.release}" if state.under_way else "nothing"),
    ]
    tables.show(("", ""), rows)
    if state.records:
        tables.show(
            ("When (UTC)", "What", "Release", "Took", "How it ended"),
            [
                (f"{each.at:%Y-%m-%d %H:%M}", each.verb, str(each.release), f"{each.seconds:.0f} s", each.outcome)
                for each in state.records
            ],
        )


def summary(host: Host) -> None:
    """The last lines of a deploy: who answers now, and how to go back."""
    state = host.state
    host.say(f"\n{state.live} answers: {state.running}")
    host.say(
        f"To go back to {state.previous}: scripts/deploy.sh rollback" if state.previous else "Nothing to go back to."
    )
