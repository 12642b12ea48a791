"""Who was erased stays erased when an older backup is restored, even if the ledger's own place is lost."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.core.config import Settings
from tests import evidence
from tests.conftest import PASSWORD
from tests.integration.backups.cluster import Cluster, archiving
from tests.integration.commands.command_line import CommandLine
from tests.integration.erasure.test_erased_reader import bring_back, done, found, live, pay, signed_in

LIBRARIAN = ("--email", "librarian@library.test", "--role", "librarian", "--password", "-")


@dataclass(frozen=True)
class Kept:
    """A library with backups; the cluster is None with SQLite, which has no server to stop."""

    settings: Settings
    library: CommandLine
    cluster: Cluster | None


@pytest.fixture
def kept(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kept]:
    if backend == "postgresql":
        with archiving() as cluster:
            yield Kept(cluster.settings(), cluster.library(), cluster)
        return
    make: Callable[[Path], Settings] = request.getfixturevalue("new_library")
    (tmp_path / "data").mkdir()
    given = {"backup_dir": tmp_path / "kept", "scheduler_enabled": False}
    settings = make(tmp_path / "data").model_copy(update=given)
    yield Kept(settings, CommandLine.of(settings), None)


def test_an_erased_reader_stays_erased_after_an_older_backup_was_restored(kept: Kept, backend: str) -> None:
    library, settings = kept.library, kept.settings
    library.done("user", "create", *LIBRARIAN, given=PASSWORD)
    with library.serving() as service:
        words = live(service)
        library.done("backup", "run")
        time.sleep(1)
        moment = datetime.now(UTC)
        time.sleep(1)
        bring_back(service)
        pay(service, words[-1])
        with signed_in(service, words[0]) as reader:
            done(reader.delete("/auth/me"))
    library.done("backup", "run")
    shutil.rmtree(settings.data_dir / "uploads")
    if kept.cluster:
        kept.cluster.stop("fast")
    told = library.done("restore", "--to", moment.isoformat(" "))
    assert "Erased again: 1. Broken rules: none." in told
    (former,) = (path for path in _beside(kept) if ".before-" in path.name)
    shutil.rmtree(former) if former.is_dir() else former.unlink()
    if kept.cluster:
        kept.cluster.start()
    assert found(settings, words) == []
    with library.serving() as service, signed_in(service, "librarian@library.test") as desk:
        assert desk.get("/users", params={"q": words[0]}).json()["items"] == []
        assert desk.get("/books").json()["items"]
    evidence.keep("R6", backend, erased_reader_found_after_restore=0)


def _beside(kept: Kept) -> list[Path]:
    return list((kept.cluster.folder if kept.cluster else kept.settings.data_dir).iterdir())
