"""What a deploy asks of whatever runs the containers: Docker Compose, or a program that answers the same verbs."""

import json
import re
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from app.commands.deploy.state import replace
from app.core.errors import Unavailable

PROXY: Final = "nginx"
START_SECONDS: Final = 180
# The new configuration is refused before the running one is touched. Then each old worker has either ended or says of
# itself that it accepts nobody any more; its number is printed, so that its end can be waited for.
RELOAD: Final = """
master=$(cat /tmp/nginx.pid)
old=$(cat /proc/$master/task/$master/children)
nginx -t -q
nginx -s reload
for worker in $old; do
  until ! [ -e /proc/$worker/cmdline ] || grep -q shutting /proc/$worker/cmdline; do sleep 0.02; done
done
echo $old
"""
STILL_THERE: Final = 'for worker in {workers}; do if [ -e "/proc/$worker/cmdline" ]; then echo "$worker"; fi; done'

Say = Callable[[str], None]


class CommandFailed(Unavailable):
    code, detail = "deploy_command_failed", "`{command}` ended with {status}:\n{said}"


class Driver(ABC):
    """The verbs. Each returns when it is done and raises CommandFailed if it can't be; each may be said again."""

    @abstractmethod
    def check(self) -> None:
        """Raise unless everything that the driver needs is here."""

    @abstractmethod
    def digest(self, image: str) -> str:
        """What tells this image from any other of the same name."""

    @abstractmethod
    def tag(self, image: str, name: str) -> None:
        """Give the image another name."""

    @abstractmethod
    def up(self, service: str, image: str, count: int = 1) -> None:
        """Run so many containers of a service from this image and wait until they are healthy; "" is all there are."""

    @abstractmethod
    def scale(self, service: str, count: int) -> None:
        """Have so many of them, leaving those that run as they are."""

    @abstractmethod
    def stop(self, service: str) -> None:
        """End a service with SIGTERM and the time that it is given."""

    @abstractmethod
    def run_once(self, service: str, image: str, *command: str) -> str:
        """Run one container of a service from this image to its end, and return what it printed."""

    @abstractmethod
    def healthy(self, service: str) -> bool:
        """Whether some containers of the service run and all of them are well."""

    @abstractmethod
    def logs(self, service: str, since: datetime) -> str: ...

    @abstractmethod
    def addresses(self, service: str) -> set[str]:
        """Of its containers, on every network: the proxy knows them by one, Prometheus by another."""

    @abstractmethod
    def in_proxy(self, script: str) -> str:
        """Run a shell's script beside the proxy, as its user, and return what it printed."""

    def reload_proxy(self) -> list[str]:
        """Have the proxy read its members; on return nobody is answered by the old ones who had not begun before.

        Returns the old workers, which finish what they began.
        """
        return self.in_proxy(RELOAD).split()

    def are_there(self, workers: Sequence[str]) -> bool:
        return bool(workers) and bool(self.in_proxy(STILL_THERE.format(workers=" ".join(workers))).split())


class Compose(Driver):
    """`docker compose` in the folder of docker-compose.yml; .env always says what is to run, so that `up` agrees."""

    def __init__(self, folder: Path, *, dry: Say | None = None) -> None:
        self._folder = folder
        self._dry = dry

    def check(self) -> None:
        self._compose("version")
        self._compose("config", "--quiet")

    def digest(self, image: str) -> str:
        return self._run(["docker", "image", "inspect", "--format", "{{.Id}}", image]).strip() or "unknown"

    def tag(self, image: str, name: str) -> None:
        self._run(["docker", "image", "tag", image, name])

    def up(self, service: str, image: str, count: int = 1) -> None:
        if not service:
            self._set({"LIBRARY_IMAGE": image})
            self._compose("up", "--detach", "--wait", "--wait-timeout", str(START_SECONDS))
            return
        self._set(_variables(service, image, count))
        self._compose("up", "--detach", "--no-deps", "--wait", "--wait-timeout", str(START_SECONDS), service)

    def scale(self, service: str, count: int) -> None:
        self._set(_variables(service, None, count))
        self._compose(
            "up", "--detach", "--no-deps", "--no-recreate", "--wait", "--wait-timeout", str(START_SECONDS), service
        )

    def stop(self, service: str) -> None:
        self._set(_variables(service, None, 0))
        self._compose("stop", service)
        self._compose("rm", "--force", service)

    def run_once(self, service: str, image: str, *command: str) -> str:
        compose = ["env", f"LIBRARY_IMAGE={image}", f"LIBRARY_IMAGE_BLUE={image}", "docker", "compose"]
        return self._run([*compose, "run", "--rm", "--no-deps", "-T", service, *command])

    def healthy(self, service: str) -> bool:
        lines = self._compose("ps", "--all", "--format", "json", service).splitlines()
        told = [each for line in lines for each in _listed(json.loads(line))]
        are_well = [each["State"] == "running" and each["Health"] in {"healthy", ""} for each in told]
        return all(are_well) and (bool(told) or self._dry is not None)

    def logs(self, service: str, since: datetime) -> str:
        return self._compose("logs", "--no-color", "--no-log-prefix", "--since", since.isoformat(), service)

    def addresses(self, service: str) -> set[str]:
        containers = self._compose("ps", "--quiet", service).split()
        found = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        return set(self._run(["docker", "inspect", "--format", found, *containers]).split()) if containers else set()

    def in_proxy(self, script: str) -> str:
        return self._compose("exec", "-T", PROXY, "sh", "-euc", script)

    def _compose(self, *words: str) -> str:
        return self._run(["docker", "compose", *words])

    def _run(self, command: list[str]) -> str:
        return run(command, folder=self._folder, dry=self._dry)

    def _set(self, variables: Mapping[str, str]) -> None:
        path = self._folder / ".env"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for name, value in variables.items():
            text = re.sub(rf"^{name}=.*\n?", "", text, flags=re.MULTILINE) + f"{name}={value}\n"
        if self._dry:
            self._dry("  .env: " + " ".join(f"{name}={value}" for name, value in variables.items()))
        else:
            replace(path, text)


class Program(Driver):
    """A program that is called with a verb and its arguments, one call a verb: what isn't Compose speaks through it."""

    def __init__(self, command: str, folder: Path, *, dry: Say | None = None) -> None:
        self._command = shlex.split(command)
        self._folder = folder
        self._dry = dry

    def check(self) -> None:
        self._ask("check")

    def digest(self, image: str) -> str:
        return self._ask("digest", image).strip() or "unknown"

    def tag(self, image: str, name: str) -> None:
        self._ask("tag", image, name)

    def up(self, service: str, image: str, count: int = 1) -> None:
        self._ask("up", service, image, str(count))

    def scale(self, service: str, count: int) -> None:
        self._ask("scale", service, str(count))

    def stop(self, service: str) -> None:
        self._ask("stop", service)

    def run_once(self, service: str, image: str, *command: str) -> str:
        return self._ask("run-once", service, image, *command)

    def healthy(self, service: str) -> bool:
        return self._ask("healthy", service).strip() == "yes" or self._dry is not None

    def logs(self, service: str, since: datetime) -> str:
        return self._ask("logs", service, since.isoformat())

    def addresses(self, service: str) -> set[str]:
        return set(self._ask("addresses", service).split())

    def in_proxy(self, script: str) -> str:
        return self._ask("in-proxy", script)

    def _ask(self, *words: str) -> str:
        return run([*self._command, *words], folder=self._folder, dry=self._dry)


def run(command: list[str], *, folder: Path, dry: Say | None = None) -> str:
    """Run a command and return what it printed; with `dry` only say it.

    Raises:
        CommandFailed: it is not here, or did not end with 0.
    """
    shown = " ".join(shlex.quote(word) if "\n" not in word else "'…'" for word in command)
    if dry:
        dry(f"  {shown}")
        return ""
    try:
        done = subprocess.run(  # noqa: S603  # the command is ours, and no shell reads it
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise CommandFailed(command=shown, status="nothing", said=f"There is no {command[0]} here.") from error
    if done.returncode:
        raise CommandFailed(command=shown, status=done.returncode, said=(done.stdout + done.stderr).strip()[-4000:])
    return done.stdout


def _listed(told: Any) -> list[dict[str, str]]:
    """Some releases of Compose print an object a line, some a list of all."""
    return told if isinstance(told, list) else [told]


def _variables(service: str, image: str | None, count: int) -> dict[str, str]:
    """How docker-compose.yml is told the image of a service and how many of it there are."""
    colour = {"api": "BLUE", "api-green": "GREEN"}.get(service)
    if colour is None:
        return {"LIBRARY_IMAGE": image} if image else {}
    found = {f"LIBRARY_{colour}": str(count)}
    return found | ({f"LIBRARY_IMAGE_{colour}": image} if image else {})
