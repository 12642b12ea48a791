"""Reads one catalogue file, a batch of records each time it is asked: a process of its own, beside the one that writes.

What to read is its argument, as JSON. Each line of standard input asks for a batch and says what time it is; the answer
is a pickled Batch. `app.imports.readers` starts it and asks.
"""

import gc
import json
import pickle  # ours alone read it
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

from app.imports.formats.reading import records
from app.imports.opening import UnusableFile, opened
from app.imports.schemas import Batch, Format


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the one that writes decides
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # it is gone: nobody is left to tell
    gc.freeze()
    asked = SimpleNamespace()
    made = batches(**json.loads(sys.argv[1]), clock=lambda: asked.now)
    for line in sys.stdin:
        asked.now = datetime.fromisoformat(line.strip())
        pickle.dump(next(made), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
        sys.stdout.buffer.flush()


def batches(
    *,
    path: str,
    name: str | None,
    record_format: str | None,
    source_name: str | None,
    after: int,
    batch_records: int,
    clock: Callable[[], datetime],
) -> Iterator[Batch]:
    """The records of the file behind position `after`; the last batch says so, and what was wrong with the file."""
    known = Format(record_format) if record_format else None
    batch = Batch()
    try:
        with opened(Path(path), name=name) as source:
            found = records(source, clock=clock, record_format=known, source_name=source_name, after=after)
            for record in found:
                batch.records.append(record)
                batch.read_bytes = source.consumed_bytes
                if len(batch.records) == batch_records:
                    yield batch
                    batch = Batch()
    except UnusableFile as error:
        batch.problem, batch.problem_code = str(error), error.code
    batch.is_last = True
    yield batch


if __name__ == "__main__":
    main()
