"""The stack: every service of docker-compose.yml in namespaces on one bridge, names answered by DNS servers."""

import itertools
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.integration.monitoring.stack import NOT_HERE, Pager
from tests.integration.stack.compose import ROOT, Service, services
from tests.integration.stack.names import Names
from tests.integration.stack.sandbox import Sandbox

BRIDGE, NETWORK = "library-br", "10.203.1"  # of the first stack
GATEWAY = f"{NETWORK}.1"
SECOND_CLIENT = f"{NETWORK}.2"
HOST = "library.test"


class Stack:
    """Starts and stops services; `folder` holds what they write.

    `overrides` are Compose files over docker-compose.yml; stacks of different numbers may run beside each other.
    """

    def __init__(self, folder: Path, image_root: Path, *overrides: str, number: int = 1) -> None:
        self.folder = folder
        self.network = f"10.203.{number}"
        self.gateway = f"{self.network}.1"
        self._mark = "library" if number == 1 else f"library{number}"
        self._bridge, self._mac = f"{self._mark}-br", f"02:00:00:00:00:{number:02x}"
        self._devices = f"lib{number}x"
        self.image_root = image_root
        self.running: dict[str, Sandbox] = {}
        self.others: dict[str, str] = {}
        """Names with addresses that are no service of ours."""
        self.pager: Pager | None = None
        """Hears of alerts, if somebody gave it."""
        self._numbers = itertools.cycle(range(30, 200))
        self._names = Names(folder, self._bridge, (f"{self.network}.{last}" for last in range(3, 30)))
        make = [sys.executable, str(ROOT / "scripts" / "make_env.py"), "--environment", "production"]
        subprocess.run(
            [*make, "--public-url", f"https://{HOST}", "--folder", str(folder)], check=True, capture_output=True
        )
        shutil.copytree(ROOT / "nginx" / "upstream", folder / "nginx" / "upstream")
        folder.chmod(0o755)
        self.services = services(folder, *overrides, profiles={"monitoring"}, but=NOT_HERE)

    def open(self) -> None:
        # An address of its own: else it has that of one of its ports, and another whenever that one goes or comes, and
        # whoever talks to us sends to the former one for half a minute.
        run("ip", "link", "add", self._bridge, "address", self._mac, "type", "bridge")
        for last in (1, 2):
            run("ip", "address", "add", f"{self.network}.{last}/24", "dev", self._bridge)
        run("ip", "link", "set", self._bridge, "up")

    def close(self) -> None:
        for name in list(self.running):
            # The proxy's workers would outlive a master that is killed.
            self.end(name, signal.SIGTERM if name == "nginx" else signal.SIGKILL)
        self._names.close()
        run("ip", "link", "delete", self._bridge)

    def start(
        self,
        service: str,
        name: str = "",
        *,
        environment: dict[str, str] | None = None,
        command: list[str] | None = None,
        image_root: Path | None = None,
        described: Service | None = None,
        is_alone: bool = False,
    ) -> Sandbox:
        """One container of a service; `name` tells several apart, the DNS answers the service's with all of them.

        `image_root` is another release of ours; else it is the one that the stack was made with. `described` says what
        another Compose file makes of the service.
        """
        name = name or service
        taken = {sandbox.address for sandbox in self.running.values()}
        number = next(number for number in self._numbers if f"{self.network}.{number}" not in taken)
        space, address = f"{self._mark}-{name}", f"{self.network}.{number}"
        outer, inner = f"{self._devices}{number}o", f"{self._devices}{number}i"
        run("ip", "netns", "add", space)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
        run("ip", "link", "set", outer, "master", self._bridge, "up")
        run("ip", "-n", space, "address", "add", f"{address}/24", "dev", inner)
        for device in ("lo", inner):
            run("ip", "-n", space, "link", "set", device, "up")
        described = described or self.services[service]
        _publish(space, described.ports)
        described = replace(
            described, environment=described.environment | (environment or {}), command=command or described.command
        )
        root = (image_root or self.image_root) if "LIBRARY_IMAGE" in described.image else None
        folder = self.folder / "services" / f"{name}-{number}"
        sandbox = Sandbox(described, space, outer, address, folder, root, is_alone)
        self.running[name] = sandbox
        self.answer_names()
        nameserver = self._names.server(described.networks)
        sandbox.start(self.folder / "volumes", self.folder / "secrets", nameserver)
        return sandbox

    def end(self, name: str, sign: signal.Signals = signal.SIGTERM) -> int:
        sandbox = self.running.pop(name)
        self.answer_names()
        try:
            return sandbox.stop(sign)
        finally:
            # With the pair, should one of its processes still live.
            run("ip", "link", "delete", sandbox.device)
            run("ip", "netns", "delete", sandbox.space)

    def usual(self) -> set[str]:
        """The services that run when nobody says otherwise."""
        return {name for name, service in self.services.items() if service.replicas and not service.profiles}

    def watching(self) -> set[str]:
        """Those of `--profile monitoring` that can be had here."""
        return {name for name, service in self.services.items() if service.profiles}

    def members(self, *names: str) -> None:
        """What a deploy does: write who answers, and let the proxy read it."""
        lines = "".join(f"server {self.running[name].address}:8000 max_fails=0;\n" for name in names)
        (self.folder / "nginx" / "upstream" / "members.conf").write_text(lines or "server 127.0.0.1:9 max_fails=0;\n")
        self.reload_proxy()

    def reload_proxy(self) -> None:
        """Return when no worker is left that knows the former files."""
        proxy = self.running["nginx"].process
        assert proxy is not None
        old = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()
        proxy.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while set(old) & set(Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()):
            if time.monotonic() > deadline:
                break  # a stream keeps it; it answers nobody new
            time.sleep(0.05)

    def answer_names(self) -> None:
        """Whenever somebody comes or goes; of `others`, whoever changes them says so."""
        self._names.know(self.running.values(), self.others)


def _publish(space: str, ports: list[tuple[int, int]]) -> None:
    """What Compose does for `ports`: who asks the outer one gets the inner one."""
    if not ports:
        return
    rules = "; ".join(f"tcp dport {outside} redirect to :{inside}" for outside, inside in ports)
    table = f"table ip nat {{ chain published {{ type nat hook prerouting priority -100; {rules}; }}; }}"
    run("ip", "netns", "exec", space, "nft", table)


def run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stdout}{done.stderr}")
    return done.stdout
