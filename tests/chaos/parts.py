"""One program of the site: started, watched, signalled, ended."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import httpx2
import psutil

from tests.chaos import inside

STOP_SECONDS: Final = 45


@dataclass
class Part:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def started(cls, name: str, command: Sequence[str], environment: dict[str, str], log: Path) -> Self:
        with log.open("ab") as said:
            process = subprocess.Popen(
                command, env=environment, cwd=log.parent, stdout=said, stderr=said, stdin=subprocess.DEVNULL,
                preexec_fn=inside.die_with_parent,  # noqa: PLW1509  # it calls nothing but prctl
            )  # fmt: skip
        return cls(name, process, log)

    async def wait_until_ready(self, url: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        async with httpx2.AsyncClient(timeout=2) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
                with suppress(httpx2.TransportError):
                    if (await client.get(url)).status_code == httpx2.codes.OK:
                        return
                await asyncio.sleep(0.1)
        raise AssertionError(f"{self.name} was not ready in {seconds:.0f} s: {self.last_words()}")

    async def wait_for_port(self, port: int, seconds: float = 20) -> None:
        """Wait until it accepts connections."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            if self.process.poll() is not None:
                break
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.name} accepts nothing: {self.last_words()}")

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; gives its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        try:
            return await asyncio.to_thread(self.process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.name} did not end in {STOP_SECONDS} s: {self.last_words()}") from None

    def hang(self, *, hanging: bool) -> None:
        """Stop it and what it started, without closing anything, or let it go on."""
        whole = psutil.Process(self.process.pid)
        for each in (whole, *whole.children(recursive=True)):
            each.send_signal(signal.SIGSTOP if hanging else signal.SIGCONT)

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2_000:]
