"""The README's first command as a stranger runs it: a fresh clone, `make run`, a few pages; then once more, warm."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
COLD_SECONDS: Final = 180
WARM_SECONDS: Final = 5
STOP_SECONDS: Final = 20
PAGES: Final = (
    "/health/ready",
    "/docs",
    "/static/vendor/swagger-ui-dist/swagger-ui-bundle.js",
    "/static/vendor/swagger-ui-dist/swagger-ui.css",
    "/redoc",
    "/static/vendor/redoc/redoc.standalone.js",
    "/openapi.json",
)


class FirstRunError(Exception):
    """The first run isn't what the README promises."""


def main() -> None:
    """Print how long both starts took; exit with 1 if one was too slow or an answer is wrong."""
    with tempfile.TemporaryDirectory(prefix="library-first-run-") as name:
        checkout = Path(name) / "library"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(checkout)], check=True)
        try:
            with _service(checkout) as (address, cold):
                _look_around(address)
            with _service(checkout) as (address, warm):
                _look_around(address)
        except FirstRunError as error:
            sys.exit(f"make run: {error}")
    print(f"make run answered after {cold:.1f} s cold (at most {COLD_SECONDS}), {warm:.1f} s warm ({WARM_SECONDS})")
    if cold > COLD_SECONDS or warm > WARM_SECONDS:
        sys.exit("make run is too slow")


@contextmanager
def _service(checkout: Path) -> Iterator[tuple[str, float]]:
    """`make run` on a free port; yields its address and the seconds until /health said 200."""
    port = _free_port()
    log = checkout.parent / "log"
    environment = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=checkout,
            env=environment | {"PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        address, began = f"http://127.0.0.1:{port}", time.monotonic()
        try:
            _wait(process, address, log)
            yield address, time.monotonic() - began
        finally:
            _stop(process)
    print(log.read_text(errors="replace"))


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + COLD_SECONDS
    while _status(f"{address}/health") != 200:  # noqa: PLR2004  # HTTP's word for yes
        if process.poll() is not None:
            raise FirstRunError(f"ended with {process.returncode}:\n{log.read_text(errors='replace')}")
        if time.monotonic() > deadline:
            raise FirstRunError(f"no answer within {COLD_SECONDS} s:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


def _look_around(address: str) -> None:
    for page in PAGES:
        if (status := _status(address + page)) != 200:  # noqa: PLR2004  # HTTP's word for yes
            raise FirstRunError(f"{page} answers {status}")
    with urllib.request.urlopen(f"{address}/api/v1/books?q=tolstoy", timeout=10) as answer:
        titles = [book["title"] for book in json.load(answer)["items"]]
    if not titles:
        raise FirstRunError("the demonstration library has nothing by Tolstoy")


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            answer.read()
            status: int = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0
    return status


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End make and what it started, as Ctrl-C would; both are in a session of their own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise FirstRunError(f"didn't stop within {STOP_SECONDS} s") from None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
