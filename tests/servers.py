"""Real servers for tests: started on free ports in temporary folders, stopped again whatever happens."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil

POSTGRES_USER = "postgres"
START_TIMEOUT_SECONDS = 30
MEMORY_NEEDED_BYTES = 4 * 2**30


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Postgres:
    """A PostgreSQL cluster in a folder of its own, which is filled if it is new."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://{POSTGRES_USER}@127.0.0.1:{self.port}"
        self.folder = folder
        is_new = not (folder / "data").exists()
        folder.mkdir(parents=True, exist_ok=True)
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            owner = pwd.getpwnam(POSTGRES_USER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            self._as_user = ["runuser", "-u", POSTGRES_USER, "--"]
        binaries = postgres_binaries()
        data = str(folder / "data")
        self._initdb = [*self._as_user, str(binaries / "initdb"), "-D", data, "-U", POSTGRES_USER, "-A", "trust"]
        self._control = [*self._as_user, str(binaries / "pg_ctl"), "-D", data, "-w", "-t", str(START_TIMEOUT_SECONDS)]
        if is_new:
            _run([*self._initdb, "-E", "UTF8", "--locale=C.UTF-8"])

    def start(self, *, durable: bool = True, extra: str = "") -> None:
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder}"
            f" -c max_connections=200 -c shared_buffers=128MB -c fsync={'on' if durable else 'off'} {extra}"
        )
        _run([*self._control, "-l", str(self.folder / "log"), "-o", options, "start"])

    def follow(self, primary: "Postgres") -> None:
        """Become a copy of another cluster, and follow it from then on; to be called before `start`."""
        shutil.rmtree(self.folder / "data")
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", POSTGRES_USER]
        copy = ["pg_basebackup", *source, "-D", str(self.folder / "data"), "-R", "-X", "stream", "-c", "fast"]
        _run([*self._as_user, str(postgres_binaries() / copy[0]), *copy[1:]])

    def hang(self, *, hanging: bool) -> None:
        """Stop answering without closing anything, or go on."""
        server = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        for process in (server, *server.children()):
            process.send_signal(signal.SIGSTOP if hanging else signal.SIGCONT)

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is a crash: nothing is flushed, recovery runs at the next start."""
        subprocess.run([*self._control, "-m", mode, "stop"], check=False, capture_output=True, cwd="/")


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """A running cluster, stopped and removed at the end. Without `durable` it is faster and forgets at a power cut."""
    folder = Path(tempfile.mkdtemp(prefix="library-postgres-", dir=None if durable else memory_folder()))
    try:
        cluster = Postgres(folder)
        cluster.start(durable=durable)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def memory_folder() -> Path | None:
    """A folder in memory, if this machine has one with room: a database is made six times as fast there."""
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK) or shutil.disk_usage(folder).free < MEMORY_NEEDED_BYTES:
        return None
    return folder


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


def eventually(holds: Callable[[], bool], what: Callable[[], object], seconds: float = 60) -> None:
    """Return when it holds; fail with `what` there was instead when the time is up."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    if result.returncode:
        raise RuntimeError(f"{command[0]} failed: {result.stdout}{result.stderr}")


class Redis:
    """A Redis server of its own, without persistence."""

    def __init__(self, folder: Path, password: str = "", tls: Path | None = None) -> None:
        """With `tls`, a folder of certificates, it speaks nothing else and asks who comes for his."""
        self.port = free_port()
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0" if password else f"redis://127.0.0.1:{self.port}/0"
        self._command = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder),
            *(["--requirepass", password] if password else []),
            *(["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", f"{tls}/server.crt", "--tls-key-file",
               f"{tls}/server.key", "--tls-ca-cert-file", f"{tls}/ours.crt"] if tls else []),
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_for(self.port, self.process)

    def hang(self, *, hanging: bool) -> None:
        """Stop answering without closing anything, or go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if hanging else signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def redis(password: str = "", tls: Path | None = None) -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="library-redis-") as folder:
        server = Redis(Path(folder), password, tls)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def s3(bucket: str) -> Iterator[str]:
    """An S3-compatible server with an empty bucket; gives the STORAGE_URL for it."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        connection = HTTPConnection(address)
        connection.request("PUT", f"/{bucket}")
        assert connection.getresponse().status == 200
        connection.close()
        yield f"s3://testing:testing@{bucket}/files?region=us-east-1&endpoint=http://{address}"
    finally:
        process.kill()
        process.wait()
