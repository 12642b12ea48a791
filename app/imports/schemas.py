"""The shapes of imports: what a record looks like on its way in, and what became of it."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from app.books.schemas import BookCreate
from app.core.schemas import Read


class Format(StrEnum):
    MARC = "marc"


class Verdict(StrEnum):
    """What became of a record; every record has exactly one."""

    IMPORTED = "imported"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    POSSIBLE_DUPLICATE = "possible_duplicate"  # imported, though another book has one of its ISBNs
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record that was read; (source, control_number) is its key, `record` its bytes as they came."""

    position: int
    source: str
    control_number: str
    digest: str
    record_format: Format
    record: bytes
    book: BookCreate
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


class RecordVerdict(Read):
    """One line of the report; positions count records from 1."""

    position: int
    verdict: Verdict
    control_number: str | None
    book_id: int | None
    reason: str | None
    changed: list[str]
    kept_local: list[str]
    duplicates: list[int]


@dataclass(slots=True)
class Outcome:
    """The counts by verdict and, if the file could not be read to its end, why."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    problem: str | None = None
    problem_code: str | None = None

    @property
    def total(self) -> int:
        return self.counts.total()
