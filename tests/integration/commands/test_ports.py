"""`library serve` at an address that it can't have: who else listens, or what is wrong with it, is told."""

import socket
import time

import pytest

from tests.integration.commands.command_line import START_SECONDS, CommandLine
from tests.servers import free_port


def test_a_port_in_use_is_told_before_anything_is_touched(unmigrated: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for workers in ("1", "2"):
            complaint = unmigrated.refused("serve", "--migrate", "--port", str(port), "--workers", workers)
            assert complaint == (
                f"Another program listens on 127.0.0.1:{port} already."
                " Stop it, or choose another port with PORT or --port.\n"
            )
    assert "is empty" in unmigrated.refused("serve", "--port", "0")


@pytest.mark.parametrize("host", ["203.0.113.7", "nowhere.invalid"])
def test_an_address_that_is_not_ours_is_told(bare: CommandLine, host: str) -> None:
    complaint = bare.refused("serve", "--host", host, "--port", "0")
    assert complaint.startswith(f"This machine has no address {host} (")
    assert "Set HOST to 127.0.0.1" in complaint


def test_of_two_services_that_start_at_once_on_one_port_one_serves(library: CommandLine) -> None:
    port = str(free_port())
    running = [library.start("serve", "--port", port) for _ in range(2)]
    deadline = time.monotonic() + START_SECONDS
    while all(process.poll() is None for process in running) and time.monotonic() < deadline:
        time.sleep(0.05)
    lost = [process.poll() is not None for process in running]
    for process in running:
        process.kill()
    said = [process.communicate()[0] for process in running]
    assert sorted(lost) == [False, True], said
    [complaint] = [text for text, has_lost in zip(said, lost, strict=True) if has_lost]
    assert "Traceback" not in complaint
    assert f"Another program listens on 127.0.0.1:{port} already." in complaint
