"""What a check says: which part, how it stands, and a sentence."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result; `detail` says how it stands or how to mend it."""

    check: str
    state: State
    detail: str
