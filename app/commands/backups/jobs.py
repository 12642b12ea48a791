"""What the keeper of backups does by the clock; run by `library backup schedule`, told by /metrics like any job."""

from datetime import datetime, time, timedelta
from typing import Final

from app.commands.backups import desk_list, restoring
from app.commands.backups.place import Place
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import AppError
from app.core.schemas import JsonObject
from app.jobs.failures import JobFailed
from app.jobs.registry import Job, Work
from app.jobs.schedule import Daily, Every

HOURS_6: Final = 6 * 3_600
# The newest backup may be so old: a day, and an hour to make one.
MAX_AGE: Final = timedelta(hours=25)


async def back_up(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """A backup, full if one is due."""
    return await _back_up(database, settings, now, full=False)


async def back_up_fully(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """A full backup."""
    return await _back_up(database, settings, now, full=True)


async def _back_up(database: Database, settings: Settings, now: datetime, *, full: bool) -> JsonObject:
    del database
    place = Place(settings)
    await place.copy_ledger()
    copied = await place.copy_files(now=now)
    backup = await restoring.engine(settings).back_up(full=full)
    return {
        "label": backup.label, "kind": backup.kind, "bytes": backup.size_bytes, "stored_bytes": backup.stored_bytes,
        "files": copied,
    }  # fmt: skip


async def try_restore(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Restore the newest backup to a moment that was marked since, and compare."""
    del database, now
    report, moment = await restoring.try_out(settings)
    return {
        "backup": report.backup, "moment": moment.at.isoformat(), "tables": report.tables, "rows": report.rows,
        "bytes": report.size_bytes, "restore_seconds": report.seconds,
    }  # fmt: skip


async def mark_moment(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Sum up the tables at this moment, for a restore test to compare with."""
    del database, now
    moment = await restoring.engine(settings).mark()
    Place(settings).keep(moment)
    return {"rows": sum(rows for rows, _ in moment.tables.values())}


async def copy_ledger(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Keep a copy of the erasure ledger with the backups: restored together, they keep erased readers erased."""
    del database, now
    return {"copied": await Place(settings).copy_ledger()}


async def write_desk_list(database: Database, settings: Settings, now: datetime) -> JsonObject:
    """Write what the desks need for a day on paper."""
    return await desk_list.write(database, settings, now)


def _told(work: Work) -> Work:
    """A refusal is a sentence for the operator, not a fault in the program."""

    async def told(database: Database, settings: Settings, now: datetime) -> JsonObject:
        try:
            return await work(database, settings, now)
        except AppError as refusal:
            raise JobFailed(str(refusal), result={}) from None

    return told


JOBS: Final = {
    job.name: job
    for job in (
        Job("backup", Daily(time(1, 30)), _told(back_up), "Make a backup, each week a full one.", HOURS_6),
        Job("restore_test", Daily(time(4, 30)), _told(try_restore), "Restore the newest backup and compare.", HOURS_6),
        # Not an hour: so that the moments wander over all minutes and seconds.
        Job("mark_moment", Every(3_533), _told(mark_moment), "Sum up the tables, for the restore test to compare."),
        Job("copy_erasures", Every(60), _told(copy_ledger), "Copy the erasure ledger to the backups."),
        Job("desk_list", Daily(time(6, 0)), _told(write_desk_list), "Write the day's lists for desks without power."),
    )
}
FULL: Final = Job("backup", Daily(time(1, 30)), _told(back_up_fully), "Make a full backup.", HOURS_6)
