"""The README as a stranger follows it: a fresh clone, `make run`, a few pages, the first steps; then a warm start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

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


TITLE: Final = "A book that came by file"


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
                _take_the_first_steps(checkout, address)
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
    if not _titles(address, "tolstoy"):
        raise FirstRunError("the demonstration library has nothing by Tolstoy")


def _take_the_first_steps(checkout: Path, address: str) -> None:
    """Run the README's commands as they stand there, with the password that `make run` printed."""
    steps = (checkout / "README.md").read_text(encoding="utf-8").partition("## First steps")[2].partition("\n## ")[0]
    log = (checkout.parent / "log").read_text(errors="replace")
    password = re.search(r"^librarian@library\.test +(\S+)", log, re.MULTILINE)
    if not password:
        raise FirstRunError(f"printed no password for the librarian:\n{log}")
    script = "set -eu\n" + "\n".join(re.findall(r"^```sh\n(.*?)^```", steps, re.DOTALL | re.MULTILINE))
    script = script.replace("http://localhost:8000", address).replace("PASSWORD", password[1])
    _write_a_record(checkout / "records.mrc")
    before = _json(f"{address}/api/v1/books/1/availability")
    done = subprocess.run(["bash", "-c", script], cwd=checkout, check=False, capture_output=True, text=True)
    print(f"The README's first steps:\n{done.stdout}{done.stderr}")
    if done.returncode:
        raise FirstRunError(f"the README's first steps end with {done.returncode}")
    if _titles(address, TITLE) != [TITLE]:
        raise FirstRunError("the imported record isn't found")
    after = _json(f"{address}/api/v1/books/1/availability")
    if after["available"] != before["available"] + 1:
        raise FirstRunError(f"the new copy isn't available: {before} became {after}")


def _write_a_record(path: Path) -> None:
    """The smallest MARC 21 record: a control number and a title."""
    fields = {"001": "first-run-1", "003": "CI", "245": f"00\x1fa{TITLE}"}
    directory, data = "", ""
    for tag, value in fields.items():
        directory += f"{tag}{len(value) + 1:04}{len(data):05}"
        data += f"{value}\x1e"
    base = 24 + len(directory) + 1
    leader = f"{base + len(data) + 1:05}nam a22{base:05}   4500"
    path.write_text(f"{leader}{directory}\x1e{data}\x1d", encoding="utf-8")


def _titles(address: str, words: str) -> list[str]:
    found = _json(f"{address}/api/v1/books?q={urllib.parse.quote(words)}")
    return [book["title"] for book in found["items"]]


def _json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


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
