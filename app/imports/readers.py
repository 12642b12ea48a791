"""Readers: a catalogue file is read by a process of its own, one batch ahead of the process that writes.

Reading takes as much of a processor as writing does. It sees no settings and no secret, only the file.
"""

import asyncio
import json
import pickle  # from our own program
import subprocess  # it runs only our own program
import sys
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, cast

import structlog

from app.core.schemas import JsonObject
from app.imports.opening import ReaderEnded
from app.imports.schemas import Batch, Format

log = structlog.get_logger()

BATCH_RECORDS: Final = 250
_ROOT: Final = Path(__file__).parents[2]
_PROGRAM: Final = (sys.executable, "-P", "-m", "app.imports.formats")


async def batches(
    path: Path,
    *,
    clock: Callable[[], datetime],
    name: str | None = None,
    record_format: Format | None = None,
    source_name: str | None = None,
    after: int = 0,
) -> AsyncGenerator[Batch]:
    """The file's records behind position `after`, to be closed by whoever stops early (`contextlib.aclosing`).

    `name` is what problems call the file, `source_name` stands in for the source that records name, `clock` says when
    their books are made. Memory holds two batches.
    """
    asked: JsonObject = {"path": str(path), "name": name, "record_format": record_format}
    asked |= {"source_name": source_name, "after": after, "batch_records": BATCH_RECORDS}
    # One thread that waits for it: each has memory of its own, which is never given back.
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
    in_thread = partial(asyncio.get_running_loop().run_in_executor, executor)
    process = await in_thread(_start, json.dumps(asked))
    shown = name or path.name
    following = in_thread(_next, process, clock(), shown)
    try:
        while not (batch := await following).is_last:
            following = in_thread(_next, process, clock(), shown)
            yield batch
        if batch.problem_code == ReaderEnded.code:
            log.error("reader_ended", status=process.returncode)
        yield batch
    finally:
        process.kill()  # so that nothing waits for it any more
        await in_thread(_end, process)
        executor.shutdown()


def _start(argument: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([*_PROGRAM, argument], env={"PYTHONPATH": str(_ROOT)}, stdin=pipe, stdout=pipe)  # noqa: S603  # our own program


def _next(process: "subprocess.Popen[bytes]", now: datetime, name: str) -> Batch:
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(f"{now.isoformat()}\n".encode())
        process.stdin.flush()
        return cast(Batch, pickle.load(process.stdout))  # noqa: S301  # our own program wrote it
    except (OSError, EOFError, pickle.UnpicklingError):
        error = ReaderEnded(name=name, status=process.wait())
        return Batch(problem=str(error), problem_code=error.code, is_last=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe
        with suppress(BrokenPipeError):  # of a question that nobody heard
            pipe.close()
