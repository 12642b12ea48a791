"""The peers, each started as its own documentation recommends for production on one core, and what it should reach."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.wrk import ROOT, Command, uvicorn

BIN: Final = ROOT / ".venv-bench" / "bin"


def granian(*target: str) -> Command:
    options = ["--interface", "asgi", "--workers", "1", "--log-level", "error"]
    return lambda port: [str(BIN / "granian"), *options, "--port", str(port), *target]


def gthread(target: str) -> Command:
    options = ["--workers", "1", "--worker-class", "gthread", "--threads", "4"]
    return lambda port: [str(BIN / "gunicorn"), *options, "--bind", f"127.0.0.1:{port}", target]


def nginx(folder: Path) -> Command:
    """A nginx with one worker that serves the folder's files."""

    def command(port: int) -> list[str]:
        file = folder / "nginx.conf"
        file.write_text(
            f"user root; daemon off; worker_processes 1; pid {folder}/nginx.pid; events {{ }} http {{ access_log off;"
            " sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/json;"
            f" open_file_cache max=10; server {{ listen 127.0.0.1:{port}; root {folder}; }} }}"
        )
        return ["nginx", "-p", str(folder), "-e", f"{folder}/nginx.log", "-c", str(file)]

    return command


def _in_bench(*module: str) -> Sequence[str]:
    return (str(BIN / "python"), "-m", *module)


# Name → how it is started, what it is asked, and its share of raw ASGI by performance.md §1.
PEERS: Final = {
    "FastAPI, response model": (uvicorn("benchmarks.peers.memory:app"), "/books", 0.15),
    "Litestar, msgspec": (uvicorn("benchmarks.peers.typed:app", _in_bench("uvicorn")), "/books", 0.34),
    "Django REST framework": (gthread("benchmarks.peers.rest:app"), "/books", 0.022),
    "Flask, gthread": (gthread("benchmarks.peers.plain:app"), "/books", 0.10),
    "raw ASGI on granian": (granian("benchmarks.peers.raw:ready"), "/", 1.36),
}
SHARES: Final = {name: share for name, (_, _, share) in PEERS.items()} | {
    "nginx, a file": 3.9,
    "bare FastAPI route": 0.29,
    "ORM, OFFSET, COUNT": 0.005,
}
