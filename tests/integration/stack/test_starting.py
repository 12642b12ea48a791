"""Starting: told to end before it can answer, and long before the database is there."""

import signal
import time
from pathlib import Path

import pytest

from tests import evidence
from tests.integration.stack.running import GATEWAY, Stack
from tests.integration.stack.sandbox import Sandbox
from tests.servers import eventually

# The interpreter starts, imports, asks the database, starts the workers, who import, and answer.
MOMENTS_SECONDS = (0.0, 0.5, 1.5, 4.0)
END_SECONDS = 10
# By itself, or by the signal, as long as nothing was begun.
CLEANLY = {0, -signal.SIGTERM, 128 + signal.SIGTERM}


@pytest.mark.parametrize("seconds", MOMENTS_SECONDS)
def test_told_to_end_while_it_starts_it_ends_cleanly(stack: Stack, seconds: float) -> None:
    api = stack.start("api", "starting", environment={"SHUTDOWN_DELAY": "0"})
    eventually(lambda: _command(api).startswith(b"/opt/library/bin/python"), lambda: _command(api))
    time.sleep(seconds)
    pids = api.pids()
    began = time.monotonic()
    code = stack.end("starting", signal.SIGTERM)
    took = time.monotonic() - began
    said = api.log.read_text()
    evidence.keep(
        "S8-start", f"SIGTERM {seconds} s after", exit_code=code, processes=len(pids), took_seconds=round(took, 2)
    )
    assert code in CLEANLY, said
    assert took < END_SECONDS
    assert "Traceback" not in said
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_database_may_come_later(stack: Stack) -> None:
    url = (stack.folder / "secrets" / "database_url").read_text().strip()
    later = {"DATABASE_URL": url.replace("@pgbouncer:", "@later:"), "DATABASE_URL_FILE": ""}
    api = stack.start("api", "early", environment=later)
    try:
        # First nobody has that name, then nobody listens there, then it is the database.
        eventually(lambda: "waiting_for_database" in api.log.read_text(), api.log.read_text)
        stack.others["later"] = GATEWAY
        stack.answer_names()
        eventually(lambda: "Connect call failed" in api.log.read_text(), api.log.read_text)
        assert not api.is_healthy()
        stack.others["later"] = stack.running["pgbouncer"].address
        stack.answer_names()
        api.wait_until_healthy()
    finally:
        stack.end("early")
        stack.others.pop("later", None)
    assert url.partition("@")[0].rpartition(":")[2] not in api.log.read_text()


def _command(sandbox: Sandbox) -> bytes:
    assert sandbox.process is not None
    return Path(f"/proc/{sandbox.process.pid}/cmdline").read_bytes()
