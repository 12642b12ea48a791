"""The jobs: what the library does by the clock.

A new one is an async function `(database, settings, now) -> counts` that may be killed anywhere and run four times at
once without doing anything twice (compare-and-swap, docs/adr/0011-scheduler.md), and a line in JOBS. The scheduler,
`library job` and the metrics take it from there.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final

from app.core.config import Settings
from app.core.db import Database
from app.core.schemas import JsonObject
from app.jobs import circulation, files, imports, notices, sessions, stock
from app.jobs.schedule import Daily, Every, Schedule

Work = Callable[[Database, Settings, datetime], Awaitable[JsonObject]]

MAX_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class Job:
    """`work` gives counts of what it did and is cancelled after `max_seconds`; `summary` is its line of help."""

    name: str
    schedule: Schedule
    work: Work
    summary: str
    max_seconds: int = MAX_SECONDS

    @property
    def max_age_seconds(self) -> int:
        """How old its last success may become before somebody should be told: a run may take its time, or fail once."""
        return self.schedule.period_seconds + 2 * MAX_SECONDS


JOBS: Final = {
    job.name: job
    for job in (
        Job("send_notices", Every(30), notices.send, "Send readers what they are to be told."),
        Job("run_imports", Every(5), imports.run, "Take in the catalogue files that were uploaded."),
        Job("take_stock", Every(30), stock.take, "Count for the graphs what is lent, booked and waiting."),
        Job("expire_holds", Every(300), circulation.expire_holds, "Pass on copies that were not collected in time."),
        Job("resume_bookings", Every(900), circulation.resume_bookings, "Put suspended bookings back in line."),
        Job("hand_out", Every(900), circulation.hand_out, "Give free copies to whoever waits for them."),
        Job("remind", Every(3_600), circulation.remind, "Remind readers of loans that are due soon or overdue."),
        Job("invariants", Every(3_600), circulation.check_invariants, "Look for states that must never be."),
        Job("count_popularity", Daily(time(3, 0)), circulation.count_popularity, "Count how often each book was lent."),
        Job("purge_history", Daily(time(3, 20)), circulation.purge_history, "Cut readers from what they returned."),
        Job("purge_idempotency", Daily(time(3, 30)), circulation.purge_idempotency, "Forget answers kept for a day."),
        Job("sweep_uploads", Daily(time(3, 50)), files.sweep_uploads, "Delete stored files that nothing names."),
        Job("hand_over_erasures", Every(300), files.hand_over_erasures, "Write erased pseudonyms to their ledger."),
        Job("remind_of_keys", Daily(time(8, 0)), sessions.remind_of_keys, "Tell owners of keys that end soon."),
        Job("purge_sessions", Daily(time(3, 10)), sessions.purge, "Delete sign-ins that have expired."),
    )
}
