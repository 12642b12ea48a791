"""The stream of live availability from a real service, in one process and in several."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from queue import Queue
from typing import Any

import httpx2
import pytest

from app.core.db import Database
from tests.circulation import Library
from tests.integration.commands.command_line import CommandLine, Service

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def watching(service: Service, book_id: int) -> Iterator[Queue[tuple[float, str]]]:
    """Lines of the stream as they come, with their time, until the block or the stream ends."""
    lines: Queue[tuple[float, str]] = Queue()
    url = f"{service.address}/api/v1/books/availability/stream?ids={book_id}"
    with httpx2.Client(timeout=30) as client, client.stream("GET", url) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")

        def read() -> None:
            with contextlib.suppress(httpx2.HTTPError):
                for line in answer.iter_lines():
                    lines.put((time.monotonic(), line))
            lines.put((time.monotonic(), "the end"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        yield lines
        if not service.process.poll():
            answer.close()
        thread.join(10)


def next_counts(lines: Queue[tuple[float, str]]) -> dict[str, Any]:
    while True:
        _, line = lines.get(timeout=15)
        assert line != "the end"
        if line.startswith("data: "):
            found: dict[str, Any] = json.loads(line.removeprefix("data: "))
            return found


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_whoever_watches_a_book_sees_what_another_process_does(
    library: CommandLine, database: Database, workers: str
) -> None:
    inside = Library(database)
    book = await inside.book(copies=1)
    reader = await inside.reader()
    with library.serving("--workers", workers) as service, watching(service, book) as lines:
        assert next_counts(lines) == {"book_id": book, "total": 1, "available": 1, "waiting": 0}
        await inside.place(reader.id, book)
        assert next_counts(lines) == {"book_id": book, "total": 1, "available": 0, "waiting": 0}


async def test_a_stream_beats_while_nothing_happens_and_ends_when_the_service_stops(
    library: CommandLine, database: Database
) -> None:
    book = await Library(database).book(copies=1)
    with library.serving() as service, watching(service, book) as lines:
        next_counts(lines)
        beats: list[float] = []
        while len(beats) < 2:
            at, line = lines.get(timeout=15)
            if line.startswith(":"):
                beats.append(at)
        assert 2 < beats[1] - beats[0] < 10
        service.process.terminate()
        while line != "the end":
            _, line = lines.get(timeout=20)
        assert service.process.wait(30) == 0


def test_head_gets_the_headers_of_the_stream_and_nothing_more(bare: CommandLine) -> None:
    bare.done("migrate")
    with bare.serving() as service:
        answer = httpx2.head(f"{service.address}/api/v1/books/availability/stream?ids=1", timeout=5)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
