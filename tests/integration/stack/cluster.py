"""The database of docker-compose.ha.yml and what happens to it: three nodes, etcd, HAProxy, and before them one api."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx2
import psutil

from tests.integration.stack.running import HOST, Stack, run
from tests.integration.stack.sandbox import Sandbox

OVERRIDE: Final = "docker-compose.ha.yml"
NODES: Final = ("db-1", "db-2", "db-3")
ETCD: Final = ("etcd-1", "etcd-2", "etcd-3")
REST: Final = 8008
PREFIX: Final = "/service/database/"
SECONDS: Final = 90


class Cluster:
    """Who is what, as Patroni says, and faults."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def start(self) -> None:
        """The services that the library's writes need, and no others."""
        for name in ETCD:
            self.stack.start(name)
        for name in NODES:
            self.start_node(name)
        for name in ("db", "replica"):
            self.stack.start(name)
        self.stack.start("redis")
        self.stack.running["db"].wait_until_healthy()
        migrate = self.stack.start("migrate")
        assert migrate.process is not None
        assert migrate.process.wait(60) == 0, migrate.log.read_text()
        self.stack.end("migrate")
        self.stack.start("backup")
        self.stack.start("pgbouncer").wait_until_healthy()
        self.stack.start("api", "api-1", environment={"WEB_CONCURRENCY": "1"}).wait_until_healthy()
        self.wait_until_whole()
        self.node("backup").wait_until_healthy()

    def start_node(self, name: str) -> None:
        self.stack.start(name, is_alone=True)

    def node(self, name: str) -> Sandbox:
        return self.stack.running[name]

    def known(self) -> dict[str, Any]:
        """What etcd knows, by the last part of the key; a node may answer with what it remembers of it."""
        done = self.stack.running[ETCD[0]].run("etcdctl", "get", "--prefix", PREFIX)
        keys = done.stdout.splitlines()
        found = {key.removeprefix(PREFIX): value for key, value in zip(keys[::2], keys[1::2], strict=True)}
        return {name: json.loads(value) if value[:1] in "{[" else value for name, value in found.items()}

    def primary(self) -> str:
        return str(self.known()["leader"])

    def standby(self) -> str:
        """The one that every commit waits for."""
        return str(self.known()["sync"]["sync_standby"])

    def complaint(self) -> object:
        """What is missing until all three nodes run, follow one history, and one of them confirms commits."""
        known = self.known()
        members = [known.get(f"members/{name}", {}) for name in NODES]
        confirming = known.get("sync", {})
        is_whole = (
            known.get("leader") in NODES
            and confirming.get("leader") == known["leader"]
            and confirming["sync_standby"] in NODES
            and known.get("failsafe", {}).keys() == set(NODES)
            and {each.get("state") for each in members} <= {"running", "streaming"}
            and len({each["timeline"] for each in members}) == 1
        )
        return None if is_whole else known

    def wait_until_whole(self) -> float:
        """Seconds until nothing is missing."""
        began = time.monotonic()
        while complaint := self.complaint():
            assert time.monotonic() - began < SECONDS, f"{complaint} {self.said()}"
            time.sleep(0.2)
        return time.monotonic() - began

    def said(self) -> str:
        """The last words of all that take part."""
        names = [name for name in (*NODES, "db", "etcd-1") if name in self.stack.running]
        return "\n".join(f"--- {name}: {self.node(name).log.read_text()[-4_000:]}" for name in names)

    def control(self, *words: str) -> str:
        """The command of docs/high-availability.md, on any node."""
        done = self.node(self.primary()).run("/bin/bash", "/etc/library/node.sh", "patronictl", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kill_postgres(self, name: str) -> None:
        """The server and all its processes, at once."""
        for process in self._processes(name, "postgres"):
            with suppress(psutil.NoSuchProcess):  # it went with the first
                process.kill()

    def kill_patroni(self, name: str) -> None:
        """Patroni itself, which the container's first process stands over."""
        first = self.node(name).pid
        patroni = [each for each in psutil.Process(first).children() if "patroni" in " ".join(each.cmdline())]
        patroni[0].kill()

    def end_node(self, name: str) -> None:
        """The whole container."""
        self.stack.end(name, signal.SIGKILL)

    def revive(self, name: str) -> None:
        """What the engine does with a container whose first process ended (restart: unless-stopped)."""
        process = self.node(name).process
        assert process is not None
        process.wait(20)
        self.stack.end(name, signal.SIGKILL)
        self.start_node(name)

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Neither etcd nor another node reaches it or is reached; its clients still do."""
        others = [self.node(other).address for other in (*NODES, *ETCD) if other != name]
        hosts = ", ".join(others)
        table = (
            f"table inet cut {{ chain to {{ type filter hook output priority 0; ip daddr {{ {hosts} }} drop; }};"
            f" chain from {{ type filter hook input priority 0; ip saddr {{ {hosts} }} drop; }}; }}"
        )
        run("ip", "netns", "exec", self.node(name).space, "nft", table)
        try:
            yield
        finally:
            run("ip", "netns", "exec", self.node(name).space, "nft", "delete table inet cut")

    def _processes(self, name: str, program: str) -> list[psutil.Process]:
        space = _space(self.node(name).pid)
        return [each for each in psutil.process_iter() if each.name() == program and _space(each.pid) == space]


def _space(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


class Direct:
    """Somebody inside, who asks the api without a proxy between; a desk may use it like a Client."""

    def __init__(self, stack: Stack) -> None:
        address = f"http://{stack.running['api-1'].address}:8000"
        self._http = httpx2.Client(base_url=address, headers={"Host": HOST}, timeout=15)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self._http.get(path, **options)

    def post(self, path: str, body: object, **options: Any) -> httpx2.Response:
        return self._http.post(path, json=body, **options)

    def close(self) -> None:
        self._http.close()


def database_url(stack: Stack, role: str, address: str) -> str:
    password = Path(stack.folder, "secrets", f"db_{role}_password").read_text(encoding="utf-8")
    return f"postgresql://library_{role}:{password}@{address}:5432/library"
