"""What makes a run its own: a network where every port is free, and our files where Compose has them.

Nothing of it is seen outside, and all of it is gone with the process.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

MARK: Final = "--inside"
HOST: Final = "library.test"
NAMES: Final = ("db", "pgbouncer", "redis", "replica", "mail", HOST)
DIES_WITH_PARENT: Final = 1
PARTING_SECONDS: Final = 5.0


def enter(module: str, arguments: Iterable[str]) -> None:
    """Start this program again in namespaces of its own, in this one's place."""
    if os.geteuid() != 0:
        sys.exit("Namespaces, mounts and packet filters are root's: run it as root.")
    again = [sys.executable, "-m", module, MARK, *arguments]
    script = 'ip link set lo up; exec "$@"'
    os.execvp(
        "unshare",
        ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-euc", script, "sh", *again],
    )


def furnish(folder: Path, repository: Path) -> None:
    """Lay out names, secrets and the proxy's files as the containers find them. `folder` is where `make env` wrote."""
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 localhost\n127.0.0.1 " + " ".join(NAMES) + "\n")
    mount("--bind", str(hosts), "/etc/hosts")
    memory("/run", "16m")
    shutil.copytree(folder / "secrets", "/run/secrets")
    for path in (Path("/run/secrets"), *Path("/run/secrets").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    proxy = folder / "nginx"
    shutil.copytree(repository / "nginx", proxy)
    shutil.copy("/etc/nginx/mime.types", proxy)
    (proxy / "tls").mkdir()
    for path in (folder / "secrets" / "tls").iterdir():
        shutil.copy(path, proxy / "tls")
    mount("--bind", str(proxy), "/etc/nginx")


def memory(at: str | Path, size: str, *options: str) -> None:
    """A file system in memory, of that size and no larger."""
    mount("-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(at))


def mount(*arguments: str) -> None:
    run("mount", *arguments)


def run(*command: str, **options: str) -> str:
    """Run it to its end; gives what it printed.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", env=os.environ | options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:300]} failed: {done.stdout}{done.stderr}")
    return done.stdout


def left_running() -> list[str]:
    """What runs in this network besides this program, and goes on doing so."""
    deadline = time.monotonic() + PARTING_SECONDS
    while (found := _others()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _others() -> list[str]:
    here = Path("/proc/self/ns/net").stat().st_ino
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.NoSuchProcess):  # it ended meanwhile
            if pid != os.getpid() and Path(f"/proc/{pid}/ns/net").stat().st_ino == here:
                found.append(" ".join(psutil.Process(pid).cmdline()))
    return found


def die_with_parent() -> None:
    """For `preexec_fn`: a run that is killed leaves no server behind."""
    ctypes.CDLL(None).prctl(DIES_WITH_PARENT, 9)
