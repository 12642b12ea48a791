"""Which of several servers `library backup` takes, when they follow each other (docker-compose.ha.yml)."""

import os
from pathlib import Path

import pytest

from app.commands.backups.pgbackrest import Cluster
from app.core.config import Settings
from app.core.errors import SettingsError

SECTION = """[library]
pg1-path={0}/one
pg1-socket-path={0}/socket-1
pg2-path={0}/two
pg2-socket-path={0}/socket-2
pg2-port=5433
pg2-user=keeper
pg3-path={0}/three
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "pgbackrest.conf"
    config.write_text(SECTION.format(tmp_path))
    return Settings(_env_file=None, pgbackrest_config=config)


def server(folder: Path, *, wrote_at: float, follows: bool = False) -> None:
    (folder / "global").mkdir(parents=True)
    control = folder / "global" / "pg_control"
    control.touch()
    os.utime(control, (wrote_at, wrote_at))
    if follows:
        (folder / "standby.signal").touch()


def test_the_one_that_follows_nobody(settings: Settings, tmp_path: Path) -> None:
    server(tmp_path / "one", wrote_at=300, follows=True)
    server(tmp_path / "two", wrote_at=100)
    server(tmp_path / "three", wrote_at=200, follows=True)
    assert Cluster.of(settings) == Cluster(tmp_path / "two", tmp_path / "socket-2", 5433, "keeper")


def test_a_former_primary_that_crashed_and_has_not_come_back_is_not_taken(settings: Settings, tmp_path: Path) -> None:
    server(tmp_path / "one", wrote_at=100)
    server(tmp_path / "three", wrote_at=200)
    assert Cluster.of(settings) == Cluster(tmp_path / "three", Path("/var/run/postgresql"), 5432, "postgres")


def test_the_first_while_there_is_none(settings: Settings, tmp_path: Path) -> None:
    assert Cluster.of(settings).data == tmp_path / "one"


def test_without_any_it_says_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "pgbackrest.conf"
    config.write_text("[library]\n")
    with pytest.raises(SettingsError, match="pg1-path"):
        Cluster.of(Settings(_env_file=None, pgbackrest_config=config))
