"""Real servers for tests: started on free ports in temporary folders, stopped again whatever happens."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POSTGRES_USER = "postgres"
START_TIMEOUT_SECONDS = 30


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL cluster of its own; yields its URL without a database name."""
    folder = Path(tempfile.mkdtemp(prefix="library-postgres-"))
    port = free_port()
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        owner = pwd.getpwnam(POSTGRES_USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_user = ["runuser", "-u", POSTGRES_USER, "--"]
    binaries = postgres_binaries()
    data = folder / "data"
    options = (
        f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        " -c full_page_writes=off -c max_connections=200 -c shared_buffers=128MB"
    )
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-t", str(START_TIMEOUT_SECONDS)]
    try:
        _run([*as_user, str(binaries / "initdb"), "-D", str(data), "-U", POSTGRES_USER, "-A", "trust", "-E", "UTF8",
              "--locale=C.UTF-8"])  # fmt: skip
        _run([*control, "-l", str(folder / "log"), "-o", options, "start"])
        yield f"postgresql://{POSTGRES_USER}@127.0.0.1:{port}"
    finally:
        if data.exists():
            subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)


def postgres_binaries() -> Path:
    """The folder of the newest installed PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed; `make setup-servers` installs what the tests need")
    return found[-1].parent


def wait_for(port: int, process: subprocess.Popen[bytes], *, seconds: float = START_TIMEOUT_SECONDS) -> None:
    """Return when the port accepts connections; raise if the process ends or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    if result.returncode:
        raise RuntimeError(f"{command[0]} failed: {result.stdout}{result.stderr}")
