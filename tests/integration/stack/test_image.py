"""What is in the image: nothing to write, to build or to install with, no tests, no secret."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tests import evidence
from tests.integration.stack.compose import ROOT
from tests.integration.stack.image import BASE
from tests.integration.stack.running import Stack, run
from tests.integration.stack.sandbox import IMAGE_USER

WRITABLE = {"/var/lib/library", "/var/lib/library/uploads", "/tmp", "/var/tmp", "/run/lock", "/dev/shm"}
KEYS = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\n[A-Za-z0-9+/]{20}")
MAX_BYTES_OVER_BASE = 200_000_000


def files(root: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Every file, folder and device below, by the name that it has inside."""
    for folder, names, entries in os.walk(root):
        for name in (*names, *entries):
            path = Path(folder, name)
            yield "/" + str(path.relative_to(root)), path, path.lstat()


def test_nobody_in_it_can_write_but_where_data_goes(stack: Stack) -> None:
    uid = int(IMAGE_USER.split(":")[0])
    writable = {
        name
        for name, _, told in files(stack.image_root)
        if not stat.S_ISLNK(told.st_mode) and (told.st_uid == uid or told.st_mode & stat.S_IWOTH)
    }
    devices = {name for name in writable if name.startswith(("/dev/", "/proc/"))}
    assert writable - devices <= WRITABLE


def test_it_holds_what_serves_and_nothing_to_build_with(stack: Stack) -> None:
    names = {name for name, _, _ in files(stack.image_root)}
    programs = {name.rpartition("/")[2] for name in names if "/bin/" in name or "/sbin/" in name}
    assert not programs & {"gcc", "cc", "make", "pip", "pip3", "uv", "git", "curl", "wget", "pytest", "ruff"}
    ours = {name for name in names if name.startswith("/srv/library/")}
    assert "/srv/library/app/main.py" in ours
    assert not [name for name in ours if re.search(r"/(tests?|docs|\.git|\.env|secrets|benchmarks)(/|$)", name)]
    compiled = {name for name in names if name.startswith("/opt/library/") and name.endswith(".pyc")}
    assert len(compiled) > 1_000


def test_no_secret_is_in_a_layer(stack: Stack) -> None:
    secrets = [path.read_bytes().strip() for path in (stack.folder / "secrets").rglob("*") if path.is_file()]
    known = [secret for secret in secrets if len(secret) >= 16]
    assert len(known) > 5
    looked_at = 0
    for name, path, told in files(stack.image_root):
        if stat.S_ISREG(told.st_mode) and name.startswith(("/srv", "/opt", "/var/lib/library", "/etc", "/root")):
            content = path.read_bytes()
            looked_at += 1
            assert not [secret for secret in known if secret in content], name
            assert not KEYS.search(content), name
    assert looked_at > 2_000
    history = run("buildah", "inspect", "--format", "{{.Docker}}", "localhost/library:test")
    assert not re.search(r"(?i)(password|secret|token)=\S", history)


def test_it_adds_little_to_its_base(stack: Stack) -> None:
    assert (ROOT / "Dockerfile").exists()
    whole = sum(told.st_blocks * 512 for _, _, told in files(stack.image_root) if stat.S_ISREG(told.st_mode))
    container = run("buildah", "from", BASE).strip()
    try:
        base_root = Path(run("buildah", "mount", container).strip())
        base = sum(told.st_blocks * 512 for _, _, told in files(base_root) if stat.S_ISREG(told.st_mode))
    finally:
        run("buildah", "rm", container)
    evidence.keep("S8-image", "size", over_base_mb=(whole - base) // 10**6, base_mb=base // 10**6, limit_mb=200)
    assert whole - base < MAX_BYTES_OVER_BASE
