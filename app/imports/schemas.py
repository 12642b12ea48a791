"""The shapes of imports: a record on its way in, what became of it, and what is told of a whole file."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.books.preparing import Prepared
from app.copies.schemas import CopyCreate
from app.core.schemas import Read


class Format(StrEnum):
    MARC = "marc"
    MARCXML = "marcxml"
    CSV = "csv"
    JSONL = "jsonl"


class Verdict(StrEnum):
    """What became of a record; every record has exactly one."""

    IMPORTED = "imported"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    POSSIBLE_DUPLICATE = "possible_duplicate"  # imported, though another book has one of its ISBNs
    REJECTED = "rejected"


class ImportStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # the file could not be read to its end; what was read stands


@dataclass(frozen=True, slots=True)
class Options:
    """How to import.

    `source_name` stands in for field 003, `overwrites` lets upstream win over edits made here, `branch_id` gets the
    copies that name no branch, `timezone` is the library's, for readers who wait for what is new.
    """

    source_name: str | None = None
    overwrites: bool = False
    branch_id: str | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record that was read; (source, control_number) is its key, `record` its bytes as they are kept.

    `book` is what it makes when it is new; None only for a record that upstream deleted and emptied.
    """

    position: int
    source: str
    control_number: str
    digest: str
    record_format: Format
    record: bytes
    book: Prepared | None
    copies: tuple[CopyCreate, ...] = ()
    problems: tuple[str, ...] = ()
    is_deleted: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.control_number


@dataclass(frozen=True, slots=True)
class Unread:
    """A record that can't be used, and why."""

    position: int
    reason: str
    control_number: str | None = None


@dataclass(slots=True)
class Batch:
    """The next records of a file. `problem` says why it can't be read on after them; nothing follows the last.

    `read_bytes` tells how far reading has come, in bytes as they lie on disk.
    """

    records: list[Incoming | Unread] = field(default_factory=list)
    read_bytes: int = 0
    problem: str | None = None
    problem_code: str | None = None
    is_last: bool = False


class FieldChange(Read):
    before: Any
    after: Any


class RecordVerdict(Read):
    """What became of one record; positions count records from 1.

    `changes` are the fields that upstream changed, `kept_local` those it changed too but that were edited here,
    `duplicates` other books with one of its ISBNs, `copies_added` and `copies_refused` what became of its holdings.
    """

    position: int
    verdict: Verdict
    control_number: str | None
    book_id: int | None
    reason: str | None
    changes: dict[str, FieldChange]
    kept_local: list[str]
    duplicates: list[int]
    copies_added: int
    copies_refused: list[str]


class ImportProblem(Read):
    code: str
    detail: str


class ImportRead(Read):
    """One file taken in, as far as it has come; `counts` by verdict."""

    id: UUID
    status: ImportStatus
    file_name: str
    format: Format | None
    size_bytes: int
    dry_run: bool
    overwrite: bool
    records: int
    counts: dict[Verdict, int]
    problem: ImportProblem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RecordVerdictPage(Read):
    items: list[RecordVerdict]
    next: str | None


@dataclass(slots=True)
class Outcome:
    """The counts by verdict and, if the file could not be read to its end, why."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    problem: str | None = None
    problem_code: str | None = None

    @property
    def total(self) -> int:
        return self.counts.total()
