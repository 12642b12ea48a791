"""When, by whom and by which rules something happens in circulation."""

from dataclasses import dataclass
from datetime import datetime

from app.audit.service import Actor
from app.policies.rules import Rulebook


@dataclass(frozen=True, slots=True)
class Context:
    """`timezone` is the library's; a branch may have its own."""

    now: datetime
    actor: Actor
    rules: Rulebook
    timezone: str
