"""Who answers to a service's name: a DNS server for each set of networks, as an engine has one in every container.

So a name is answered to whoever shares a network with its service, with the aliases that it has there, and to nobody
else: what docker-compose.yml keeps apart doesn't find each other here either.
"""

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.integration.stack.compose import Service


class Named(Protocol):
    @property
    def service(self) -> Service: ...
    @property
    def address(self) -> str: ...


@dataclass
class _Server:
    networks: frozenset[str]
    address: str
    hosts: Path
    process: "subprocess.Popen[bytes]"


class Names:
    """The servers, each on an address of `device`; `addresses` are those it may take."""

    def __init__(self, folder: Path, device: str, addresses: Iterable[str]) -> None:
        self._folder = folder
        self._device = device
        self._free = iter(addresses)
        self._servers: dict[frozenset[str], _Server] = {}
        self._hosts: list[tuple[str, dict[str, list[str]], str]] = []
        self._others: dict[str, str] = {}

    def server(self, networks: Iterable[str]) -> str:
        """The address of the one that whoever is in these networks asks."""
        key = frozenset(networks)
        if key not in self._servers:
            self._servers[key] = self._start(key)
        return self._servers[key].address

    def know(self, running: Iterable[Named], others: dict[str, str]) -> None:
        """Answer with these from now on; `others` are no services of ours, and everybody finds them."""
        self._hosts = [(each.address, each.service.networks, each.service.name) for each in running]
        self._others = dict(others)
        for server in self._servers.values():
            self._write(server.hosts, server.networks)
            with suppress(ProcessLookupError):
                os.kill(server.process.pid, signal.SIGHUP)
        time.sleep(0.1)

    def close(self) -> None:
        for server in self._servers.values():
            server.process.kill()
            server.process.wait()

    def _start(self, networks: frozenset[str]) -> _Server:
        address = next(self._free)
        command = ["ip", "address", "add", f"{address}/24", "dev", self._device]
        subprocess.run(command, check=True, capture_output=True)
        hosts = self._folder / f"hosts-{address}"
        self._write(hosts, networks)
        process = subprocess.Popen([
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--listen-address={address}",
            "--bind-interfaces", "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", "--user=root", "--pid-file=",
        ])  # fmt: skip
        server = _Server(networks, address, hosts, process)
        while True:  # until then a SIGHUP would end it
            with suppress(ConnectionRefusedError), socket.create_connection((address, 53), timeout=5):
                return server
            assert process.poll() is None, "dnsmasq did not start"
            time.sleep(0.01)

    def _write(self, hosts: Path, networks: frozenset[str]) -> None:
        found = itertools.chain(self._seen_by(networks), ((a, name) for name, a in self._others.items()))
        hosts.write_text("".join(f"{address} {name}\n" for address, name in found))

    def _seen_by(self, networks: frozenset[str]) -> Iterator[tuple[str, str]]:
        for address, theirs, name in self._hosts:
            shared = networks & theirs.keys()
            for said in [name, *(alias for network in sorted(shared) for alias in theirs[network])] if shared else []:
                yield address, said
