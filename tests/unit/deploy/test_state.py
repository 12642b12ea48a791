"""The state's file and the lock: whole at every moment, held by one, gone with its holder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.commands.deploy.state import Book, DeployUnderWay, Release, UnderWay, locked

HOLDER = """
import pathlib, sys, time
from app.commands.deploy.state import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    book = Book(tmp_path)
    assert (book.is_new, book.state.live, book.state.idle) == (True, "blue", "green")
    release = Release(image="library:2", digest="sha256:0123456789abcdef")
    book.state.live = "green"
    book.state.under_way = UnderWay(verb="canary", release=release, done=["backup"])
    book.save()
    again = Book(tmp_path)
    assert again.state == book.state
    assert again.state.idle == "blue"
    assert str(release) == "library:2 (0123456789ab)"


def test_a_second_deploy_is_told_who_is_at_work_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DeployUnderWay, match=f"process {holder.pid}, since"), locked(tmp_path):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with locked(tmp_path):
        pass
