"""What `library catalog import` tells while it works and at the end: a bar for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.imports.schemas import Outcome, RecordVerdict, Verdict

Write = Callable[[list[RecordVerdict]], None]

SHOWN: Final = 20
MAX_SHOWN_CHARACTERS: Final = 60


class Telling:
    """One file's progress, its verdicts that a librarian must see, and its end."""

    def __init__(self, path: Path, *, write: Write | None, as_json: bool, is_dry: bool) -> None:
        self.path = path
        self._write = write
        self._as_json = as_json
        self.is_dry = is_dry
        self._shown: list[str] = []
        self._hidden = 0
        self._advance: Callable[[int, int], None] = lambda _records, _read_bytes: None

    def report(self, verdicts: list[RecordVerdict], read_bytes: int) -> None:
        if self._write:
            self._write(verdicts)
        for verdict in verdicts:
            for line in _lines(verdict, with_changes=self.is_dry):
                if len(self._shown) < SHOWN:
                    self._shown.append(line)
                else:
                    self._hidden += 1
        self._advance(len(verdicts), read_bytes)

    def conclude(self, outcome: Outcome) -> None:
        counts = {verdict.value: outcome.counts[verdict] for verdict in Verdict}
        if self._as_json:
            problem = {"code": outcome.problem_code, "detail": outcome.problem} if outcome.problem else None
            facts = {"file": str(self.path), "dry_run": self.is_dry, "records": outcome.total, **counts}
            typer.echo(json.dumps(facts | {"problem": problem}))
            return
        told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        verb = "would be" if self.is_dry else "were"
        typer.echo(f"{self.path.name}: {outcome.total:,} records" + (f", of which {verb}: {told}." if told else "."))
        for line in self._shown:
            typer.echo(f"  {line}")
        if self._hidden:
            typer.echo(f"  … and {self._hidden:,} more; --report FILE writes them all.")
        if outcome.problem:
            typer.echo(outcome.problem, err=True)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """On a terminal a bar with records, rate and time left; nothing elsewhere."""
        if self._as_json or not sys.stderr.isatty():
            yield
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
            TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,}/s"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(self.path.name, total=_size_bytes(self.path), records=0, rate=0)
            records = 0

            def advance(count: int, read_bytes: int) -> None:
                nonlocal records
                records += count
                seconds = bar.tasks[0].elapsed or 1
                bar.update(task, completed=read_bytes, records=records, rate=round(records / seconds))

            self._advance = advance
            yield


@contextmanager
def report_to(path: Path) -> Iterator[Write]:
    """Writes verdicts to a file, one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        yield lambda verdicts: file.writelines(f"{verdict.model_dump_json()}\n" for verdict in verdicts)


def _size_bytes(path: Path) -> int | None:
    with suppress(OSError):  # who reads it says what is wrong
        return path.stat().st_size
    return None


def _lines(verdict: RecordVerdict, *, with_changes: bool) -> Iterator[str]:
    number = f" ({verdict.control_number})" if verdict.control_number else ""
    if verdict.verdict is Verdict.REJECTED:
        yield f"record {verdict.position}{number} rejected: {verdict.reason}"
    elif verdict.reason:
        yield f"record {verdict.position}{number}: {verdict.reason}"
    if verdict.kept_local:
        yield f"record {verdict.position}{number}: kept as edited here: {', '.join(verdict.kept_local)}"
    for refusal in verdict.copies_refused:
        yield f"record {verdict.position}{number}: {refusal}"
    if with_changes:
        for name, change in verdict.changes.items():
            yield f"record {verdict.position}{number}: {name}: {_short(change.before)} → {_short(change.after)}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[: MAX_SHOWN_CHARACTERS - 1]}…"
