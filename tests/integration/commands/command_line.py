"""The command line as a person uses it: real processes, in a folder of their own, with only the settings given."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TextIO

import httpx2
from pydantic import SecretStr

from app.core.config import Settings
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[3]
COMMAND = (sys.executable, "-W", "error", "-m", "app.cli")
GUNICORN = (sys.executable, "-W", "error", "-m", "gunicorn", "--config", str(ROOT / "gunicorn_conf.py"))
TIMEOUT_SECONDS = 180
START_SECONDS = 90


@dataclass(frozen=True)
class CommandLine:
    """`library …` in `folder`, with `settings` as its environment."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the settings of a test, whatever they are."""
        values = {name.upper(): getattr(settings, name) for name in settings.model_fields_set}
        return cls(
            settings.data_dir,
            {
                name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
                for name, value in values.items()
                if value is not None
            },
        )

    def run(
        self, *arguments: str, given: str = "", wrapped: Sequence[str] = (), **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; `wrapped` are words before it, such as another program that starts it."""
        return subprocess.run(
            [*wrapped, *COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(settings),
            input=given,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def done(self, *arguments: str, given: str = "", **settings: str) -> str:
        """What it printed; it must succeed and complain of nothing."""
        result = self.run(*arguments, given=given, **settings)
        assert (result.returncode, result.stderr) == (0, ""), result
        return result.stdout

    def refused(self, *arguments: str, code: int = 1, given: str = "", **settings: str) -> str:
        """Its complaint; it must fail with `code`, print nothing else and show no traceback."""
        result = self.run(*arguments, given=given, **settings)
        assert result.returncode == code, result
        assert "Traceback" not in result.stderr
        assert result.stdout == ""
        return result.stderr

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start it and don't wait; the caller waits or kills."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextmanager
    def serving(self, *arguments: str, **settings: str) -> Iterator["Service"]:
        """`library serve` on a free port, answering; stopped at the end whatever happens."""
        port = free_port()
        with self._answering(port, [*COMMAND, "serve", "--port", str(port), *arguments], settings) as service:
            yield service

    @contextmanager
    def under_gunicorn(self, **settings: str) -> Iterator["Service"]:
        """The same by gunicorn and the shipped gunicorn_conf.py."""
        port = free_port()
        with self._answering(port, [*GUNICORN], {"PORT": str(port), **settings}) as service:
            yield service

    @contextmanager
    def _answering(self, port: int, command: list[str], settings: dict[str, str]) -> Iterator["Service"]:
        # A file, not a pipe: nobody reads while the service writes.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(settings),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            service = Service(process, f"http://localhost:{port}", port, output)
            try:
                yield service.wait_until_up()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(TIMEOUT_SECONDS)

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            **self.settings,
            **settings,
        }


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    address: str
    port: int
    _output: TextIO

    def wait_until_up(self) -> Self:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output()
            try:
                if self.get("/health").status_code == 200:
                    return self
            except httpx2.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"no answer in {START_SECONDS} s: {self.output()}")

    def wait_until_all_answer(self) -> Self:
        """With several workers the first that answers is not yet the last."""
        deadline = time.monotonic() + START_SECONDS * 2
        while "serving" not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)
        return self

    def get(self, path: str, *, token: str = "") -> httpx2.Response:
        """On a connection of its own, so that every worker gets some of the requests."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.get(f"{self.address}{path}", headers=headers, timeout=5, verify=False)

    def post(self, path: str, body: dict[str, str]) -> httpx2.Response:
        return httpx2.post(f"{self.address}{path}", json=body, timeout=5, verify=False)

    def can_sign_in(self, email: str, password: str) -> bool:
        return self.post("/api/v1/auth/login", {"email": email, "password": password}).status_code == 200

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()


def children(pid: int) -> list[int]:
    """The workers."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
