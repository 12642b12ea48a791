"""One service in namespaces of its own: an address on the stack's network, a root file system, the mounts it is given.

Its root is the built image's, or this Debian's with the server installed, under an overlay; read-only if Compose says
so; secrets and files where Compose mounts them; the user that Compose or the image names, without capabilities.
"""

import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.stack import shims
from tests.integration.stack.compose import Service, shell

IMAGE_USER = "10001:10001"
IMAGE_COMMAND = ["library", "serve"]
IMAGE_ENVIRONMENT = {
    "PATH": "/opt/library/bin:/usr/local/bin:/usr/bin:/bin", "DATA_DIR": "/var/lib/library", "HOST": "0.0.0.0",
    "PORT": "8000", "LOG_FORMAT": "json", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


@dataclass
class Sandbox:
    """A service that runs; `space` names its network namespace, `device` its end on the bridge."""

    service: Service
    space: str
    device: str
    address: str
    folder: Path
    image_root: Path | None
    is_alone: bool = False
    """Whether it has process ids of its own, as a container does: when the first process ends, all do."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def user(self) -> tuple[int, int]:
        given = self.service.user or (IMAGE_USER if self.image_root else shims.NOBODY)
        if given[0].isdigit():
            uid, _, gid = given.partition(":")
            return int(uid), int(gid)
        owner = pwd.getpwnam(given)
        return owner.pw_uid, owner.pw_gid

    def start(self, volumes: Path, secrets: Path, nameserver: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(exist_ok=True)
        script = "\n".join(self._script(volumes, secrets, nameserver))
        with self.log.open("ab") as log:
            self.log.chmod(0o666)
            apart = ["unshare", "--pid", "--fork", "--kill-child"] if self.is_alone else []
            command = ["ip", "netns", "exec", self.space, *apart, "/bin/bash", "-euc", script]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self, sign: int, seconds: float = 60) -> int:
        assert self.process is not None
        if self.is_alone:
            with suppress(IndexError, OSError):  # it has ended by itself
                os.kill(self.pid, sign)
        else:
            self.process.send_signal(sign)
        return self.process.wait(seconds)

    @property
    def pid(self) -> int:
        """The first process of the service."""
        assert self.process is not None
        return _children(self.process.pid)[0] if self.is_alone else self.process.pid

    def is_healthy(self) -> bool:
        """What Compose's health check says; one that takes too long says no."""
        try:
            return self.service.health is None or self.run(*self.service.health).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command beside the service: the same namespaces, root, user, folder and environment."""
        uid, gid = self.user
        enter = ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-r", "-w", "-S", str(uid), "-G", str(gid)]
        inside = [*enter, "/usr/bin/env", "-i", *self._environment(), *command]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            for stream in (out, err):
                os.fchown(stream.fileno(), uid, gid)  # as an engine does, else nobody could open /dev/stdout
            done = subprocess.run(inside, stdout=out, stderr=err, check=False, timeout=60, cwd="/")
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(inside, done.returncode, out.read(), err.read())

    def memory_bytes(self) -> int:
        """What the service's processes hold together, each shared page counted once."""
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids()]
        return sum(int(line.split()[1]) * 1024 for text in rollups for line in text.splitlines() if line[:4] == "Pss:")

    def pids(self) -> list[int]:
        """The service's processes, the first one first."""
        assert self.process is not None
        return [self.process.pid, *_children(self.process.pid)]

    def cpu_seconds(self) -> float:
        """What the service's processes have worked so far."""
        spent = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in self.pids()]
        return sum(int(ticks) for each in spent for ticks in each) / os.sysconf("SC_CLK_TCK")

    def wait_until_healthy(self, seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while not self.is_healthy():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.service.name} is not healthy: {self.log.read_text()[-3000:]}")
            time.sleep(0.5)

    @property
    def _is_database(self) -> bool:
        return "library-database" in self.service.image

    def _environment(self) -> list[str]:
        base = IMAGE_ENVIRONMENT if self.image_root else {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return [f"{name}={value}" for name, value in (base | self.service.environment).items()]

    def _command(self) -> list[str]:
        entrypoint = self.service.entrypoint or shims.PROGRAMS.get(self.service.image.partition(":")[0], [])
        words = [*entrypoint, *(self.service.command or (IMAGE_COMMAND if self.image_root else []))]
        if self._is_database:
            return ["/bin/bash", "-euc", shims.POSTGRES, "shim", *words]
        return words

    def _script(self, volumes: Path, secrets: Path, nameserver: str) -> Iterator[str]:
        root, uid_gid = f"{self.folder}/root", "{}:{}".format(*self.user)
        lower = self.image_root or Path("/")
        yield "mount --make-rprivate /"
        layers = f"lowerdir={lower},upperdir={self.folder}/upper,workdir={self.folder}/work"
        yield f"mount -t overlay overlay -o {layers} {root}"
        yield f"mount --rbind /dev {root}/dev"
        yield f"mount -t proc proc {root}/proc" if self.is_alone else f"mount --rbind /proc {root}/proc"
        yield f"mount -t tmpfs -o mode=755 tmpfs {root}/run"
        yield f"mkdir {root}/run/secrets"
        yield f"rm -f {root}/etc/resolv.conf; echo nameserver {nameserver} >{root}/etc/resolv.conf"
        yield f'inside() {{ chroot {root} realpath -m "$1"; }}'
        for target in self.service.tmpfs:
            yield f"at={root}$(inside {target}); mkdir -p $at; mount -t tmpfs -o mode=1777 tmpfs $at"
        for volume, target, is_read_only in self.service.volumes:
            # A new volume gets what the image has there, and keeps its owner, whoever uses it later.
            new = f"{volumes}/{volume}"
            have = f"cp -a {self.image_root}{target}/. {new}; " if self.image_root else ""
            yield f"[ -d {new} ] || {{ mkdir -p {new}; {have}chown {uid_gid} {new}; }}"
            yield f"at={root}$(inside {target}); mkdir -p $at; mount --bind {volumes}/{volume} $at"
            if is_read_only:
                yield "mount -o remount,bind,ro $at"
        bound = [*self.service.files, *((secrets / name, f"/run/secrets/{name}") for name in self.service.secrets)]
        if self._is_database:
            command = f"{root}/usr/local/bin/library"
            yield f"echo {shell([shims.COMMAND])} >{command}; chmod 755 {command}"
            bound += shims.LIBRARY
        for source, target in bound:
            make = "mkdir -p $at" if source.is_dir() else "mkdir -p ${at%/*}; touch $at"
            yield f"at={root}$(inside {target}); {make}; mount --bind {source} $at; mount -o remount,bind,ro $at"
        if self.service.is_read_only:
            yield f"mount -o remount,ro {root}"
        uid, gid = self.user
        drop = f"setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs --bounding-set -all --inh-caps -all"
        work = "/srv/library" if self.image_root else "/"
        program = shell([*self._environment(), *self._command()])
        yield f"exec chroot {root} /bin/sh -c {shell(['cd ' + work + '; exec ' + drop + ' env -i ' + program])}"


@contextmanager
def cut_off(sandbox: Sandbox) -> Iterator[None]:
    """While the block runs, whatever is sent to the service or by it gets lost."""
    inside = ["ip", "netns", "exec", sandbox.space, "nft"]
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {side} != lo drop; }}; "
        for hook, side in (("input", "iif"), ("output", "oif"))
    )
    subprocess.run([*inside, f"table ip cut {{ {chains} }}"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "delete table ip cut"], check=True, capture_output=True)


def _children(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _children(child)]
