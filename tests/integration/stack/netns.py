"""A host on which scripts/deploy.sh deploys: answers the driver's verbs by starting and ending the stack's services."""

import json
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.integration.stack.compose import ROOT
from tests.integration.stack.running import Stack

DEPLOY: Final = ROOT / "scripts" / "deploy.sh"
DRIVER: Final = Path(__file__).with_name("driver.py")
RUN_SECONDS: Final = 120


class Host:
    """The stack as a deploy's driver sees it; `releases` are its images: name → root of the file system."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.releases: dict[str, Path] = {}
        self.stops: list[int] = []
        self.ran: list[tuple[str, datetime, datetime]] = []
        self._socket = stack.folder / "driver.sock"
        # A killed deploy's verb may still be at work when the next one comes.
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def listening(self) -> Iterator[None]:
        host = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words = json.loads(self.rfile.readline())
                try:
                    answer: tuple[int, str] = (0, host.do(*words))
                except Exception as error:  # noqa: BLE001  # whatever it is, the deploy is told, and the test by it
                    answer = (1, f"{type(error).__name__}: {error}\n")
                self.wfile.write(json.dumps(answer).encode() + b"\n")

        with socketserver.ThreadingUnixStreamServer(str(self._socket), Handler) as server:
            server.daemon_threads = True
            listener = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            listener.start()
            try:
                yield
            finally:
                server.shutdown()
                listener.join()
                self._socket.unlink()

    def command(self, *words: str) -> list[str]:
        by = f"{sys.executable} {DRIVER} {self._socket}"
        return [str(DEPLOY), *words, "--folder", str(self.stack.folder), "--driver", by]

    def deploy(self, *words: str) -> subprocess.CompletedProcess[str]:
        """scripts/deploy.sh, as a person runs it."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=240)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.stack.folder / ".deploy" / "state.json").read_text())
        return found

    def do(self, verb: str, *words: str) -> str:
        if verb in {"healthy", "in-proxy", "logs", "digest", "check", "addresses"}:
            return str(getattr(self, "_" + verb.replace("-", "_"))(*words))
        with self._one_at_a_time:
            return str(getattr(self, "_" + verb.replace("-", "_"))(*words) or "")

    def _check(self) -> str:
        return ""

    def _digest(self, image: str) -> str:
        """A tag is another name of the same file system."""
        return f"sha256:{self.releases[image].parent.name}\n"

    def _tag(self, image: str, name: str) -> None:
        self.releases[name] = self.releases[image]

    def _up(self, service: str, image: str, count: str) -> None:
        names = self._names(service, int(count))
        root = self.releases[image]
        self._end(
            name for name in self._running(service) if name not in names or self.stack.running[name].image_root != root
        )
        for name in names:
            if name not in self.stack.running:
                self.stack.start(service, name, image_root=root)
        for name in names:
            self.stack.running[name].wait_until_healthy()

    def _scale(self, service: str, count: str) -> None:
        running = self._running(service)
        root = self.stack.running[running[0]].image_root
        self._up(service, next(name for name, each in self.releases.items() if each == root), count)

    def _stop(self, service: str) -> None:
        self._end(self._running(service))

    def _run_once(self, service: str, image: str, *command: str) -> str:
        began = datetime.now(UTC)
        sandbox = self.stack.start(service, f"{service}-once", command=list(command), image_root=self.releases[image])
        assert sandbox.process is not None
        code = sandbox.process.wait(RUN_SECONDS)
        self.stack.end(f"{service}-once")
        self.ran.append((service, began, datetime.now(UTC)))
        said = sandbox.log.read_text()
        if code:
            raise AssertionError(f"it ended with {code}: {said}")
        return said

    def _healthy(self, service: str) -> str:
        running = self._running(service)
        return "yes" if running and all(self.stack.running[name].is_healthy() for name in running) else "no"

    def _addresses(self, service: str) -> str:
        return " ".join(self.stack.running[name].address for name in self._running(service))

    def _logs(self, service: str, since: str) -> str:
        del since  # whoever reads knows the lines' own times
        return self.stack.running[service].log.read_text()

    def _in_proxy(self, script: str) -> str:
        done = self.stack.running["nginx"].run("/bin/sh", "-euc", script)
        if done.returncode:
            raise AssertionError(f"it ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def _end(self, names: Iterable[str]) -> None:
        """All at once, as Compose does."""
        ending = list(names)
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda name: self.stack.running[name].stop(signal.SIGTERM), ending))
        self.stops += [self.stack.end(name) for name in ending]

    def _running(self, service: str) -> list[str]:
        return sorted(name for name, sandbox in self.stack.running.items() if sandbox.service.name == service)

    def _names(self, service: str, count: int) -> list[str]:
        return [f"{service}-{number + 1}" for number in range(count)] if service.startswith("api") else [service]
