"""One server on one core and wrk on another: what a request costs the server, and how long it takes."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = 32
START_SECONDS = 30

Command = Callable[[int], list[str]]


@dataclass(frozen=True)
class Round:
    """`cpu_us` is the server's processor time a request, in microseconds; latencies are in milliseconds."""

    requests: int
    cpu_us: float
    per_second: float
    p50_ms: float
    p99_ms: float


class Server:
    """A server process and its children."""

    def __init__(self, process: psutil.Process, port: int) -> None:
        self._process = process
        self.address = f"http://127.0.0.1:{port}"

    def cpu_seconds(self) -> float:
        family = [self._process, *self._process.children(recursive=True)]
        times = [process.cpu_times() for process in family]
        return sum(each.user + each.system for each in times)

    def memory_bytes(self) -> int:
        """Proportional set size, shared pages divided by their users."""
        family = [self._process, *self._process.children(recursive=True)]
        return sum(process.memory_full_info().pss for process in family)

    def load(
        self, path: str, *, seconds: int, headers: Mapping[str, str], script: Path | None = None,
        connections: int = CONNECTIONS, cores: str = "1",
    ) -> Round:  # fmt: skip
        """Ask for the path, or for what the script (Lua) says, as fast as answers come; each must be a success."""
        options = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
        options += ["-s", str(script)] if script else []
        before = self.cpu_seconds()
        command = [
            "taskset",
            "-c",
            cores,
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "--timeout=30s",
        ]
        command += options
        ended = subprocess.run([*command, self.address + path], capture_output=True, text=True, check=True)  # noqa: S603  # our own command
        told = ended.stdout
        spent = self.cpu_seconds() - before
        requests = int(found(r"(\d+) requests in", told))
        if not requests:  # on a machine that others load, the slowest take longer than a round
            return self.load(
                path, seconds=3 * seconds, headers=headers, script=script, connections=connections, cores=cores
            )
        if "Non-2xx" in told or "Socket errors" in told:
            raise RuntimeError(f"{path} was not answered well:\n{told}")
        return Round(
            requests=requests,
            cpu_us=spent / requests * 1e6,
            per_second=float(found(r"Requests/sec:\s+([\d.]+)", told)),
            p50_ms=_milliseconds(found(r"(?m)^ +50% +(\S+)", told)),
            p99_ms=_milliseconds(found(r"(?m)^ +99% +(\S+)", told)),
        )


@contextmanager
def serving(command: Command, environment: Mapping[str, str], *, ready: str, cores: str = "0") -> Iterator[Server]:
    """Start what `command` makes of a free port, on the first core; wait until `ready` is answered."""
    port = free_port()
    process = subprocess.Popen(  # noqa: S603  # our own command
        ["taskset", "-c", cores, *command(port)],
        cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_answered(f"http://127.0.0.1:{port}{ready}")
        yield Server(psutil.Process(process.pid), port)
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


def cycle(file: Path, paths: Sequence[str]) -> Path:
    """A script for wrk that asks for these paths one after the other, again and again."""
    listed = ",".join(json.dumps(path) for path in paths)
    file.write_text(
        f"local paths = {{{listed}}}\nlocal at = 0\n"
        "request = function()\n  at = at % #paths + 1\n  return wrk.format('GET', paths[at])\nend\n"
    )
    return file


def uvicorn(target: str, program: Sequence[str] = (sys.executable, "-m", "uvicorn")) -> Command:
    """One process, as its documentation tells for a machine with one core: uvloop, httptools, no access log."""
    return lambda port: [*program, target, "--port", str(port), "--no-access-log", "--log-level", "warning"]


def wait_until_answered(address: str) -> float:
    """Seconds until the address answers anything at all."""
    began = time.monotonic()
    while time.monotonic() < began + START_SECONDS:
        try:
            with urlopen(Request(address), timeout=5):  # noqa: S310  # our own server
                return time.monotonic() - began
        except (URLError, ConnectionError):
            time.sleep(0.005)
    raise TimeoutError(f"{address} is not answered")


def found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"wrk says nothing of {pattern}:\n{text}")
    return found[1]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]  # wrk's own format
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
