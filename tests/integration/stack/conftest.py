"""One stack for all these tests, in order: `make stack-test` runs them in one process, as root."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import evidence
from tests.integration.monitoring.stack import Pager
from tests.integration.observability.collector import collector
from tests.integration.stack import image, shims
from tests.integration.stack.client import Client
from tests.integration.stack.running import GATEWAY, Stack

IS_FULL = bool(os.environ.get("FULL"))


@pytest.fixture(scope="session")
def image_root() -> Iterator[Path]:
    """The file system of the image that is built of this checkout."""
    assert os.geteuid() == 0, "network namespaces are root's"
    with Path(tempfile.gettempdir(), "library-stack.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one bridge of one name
        image.build()
        container, root = image.mounted()
        try:
            yield root
        finally:
            image.forget(container)


@pytest.fixture(scope="session")
def stack(image_root: Path) -> Iterator[Stack]:
    """All that docker-compose.yml names, and of its monitoring what Debian has, healthy by its own health checks."""
    folder = Path(tempfile.mkdtemp(prefix="library-stack-"))
    stack = Stack(folder, image_root)
    try:
        stack.open()
        with collector((GATEWAY, 8080)) as taken:
            stack.others["pager"] = GATEWAY
            stack.pager = Pager(taken)
            _start_all(stack)
            yield stack
    finally:
        stack.close()
        shutil.rmtree(folder, ignore_errors=True)


def _start_all(stack: Stack) -> None:
    evidence.keep("S8-image", "shims", postgres=shims.POSTGRES, programs=shims.PROGRAMS)
    began = time.monotonic()
    for name in ("db", "replica", "pgbouncer", "redis"):
        stack.start(name).wait_until_healthy()
    migrate = stack.start("migrate")
    assert migrate.process is not None
    assert migrate.process.wait(60) == 0, migrate.log.read_text()
    stack.end("migrate")
    stack.start("backup")
    waited = time.monotonic()
    for name in ("api-1", "api-2"):
        stack.start("api", name)
    for name in ("api-1", "api-2"):
        stack.running[name].wait_until_healthy()
    api_seconds = time.monotonic() - waited
    for name in ("scheduler", "nginx"):
        stack.start(name).wait_until_healthy()
    for name in sorted(stack.watching()):
        stack.start(name)
    for name in ("backup", *stack.watching()):  # the first once it has made its first backup
        stack.running[name].wait_until_healthy()
    evidence.keep(
        "S8-image",
        "started",
        stack_seconds=round(time.monotonic() - began, 1),
        two_api_seconds=round(api_seconds, 1),
        api_with_two_workers_mib=stack.running["api-1"].memory_bytes() >> 20,
        missing=sorted(
            (stack.usual() | stack.watching()) - {s.service.name for s in stack.running.values()} - {"migrate"}
        ),
    )


@pytest.fixture
def outside(stack: Stack) -> Iterator[Client]:
    """Somebody outside, who reaches the proxy and nothing else."""
    with Client(stack, GATEWAY) as client:
        yield client
