"""When a job is due: at intervals, or once a day at a time on the library's clocks."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Schedule(Protocol):
    """`str()` of it is what people read; `period_seconds` is the longest time between two starts."""

    @property
    def period_seconds(self) -> int: ...

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """The first time after `moment`; what was missed before that is missed once."""


@dataclass(frozen=True, slots=True)
class Every:
    """So long after the last start."""

    seconds: int

    @property
    def period_seconds(self) -> int:
        return self.seconds

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        del zone
        return moment + timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        minutes, seconds = divmod(self.seconds, 60)
        return f"every {self.seconds} s" if seconds or not minutes else f"every {minutes} min"


@dataclass(frozen=True, slots=True)
class Daily:
    """At a local time; on a day whose clocks skip it, as much later as they were moved."""

    at: time

    @property
    def period_seconds(self) -> int:
        return 25 * 3_600  # the day on which the clocks go back

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        day = moment.astimezone(zone).date()
        for date in (day, day + timedelta(days=1)):
            instant = datetime.combine(date, self.at, zone).astimezone(UTC)
            if instant > moment:
                return instant
        raise AssertionError("a day has only so many hours")

    def __str__(self) -> str:
        return f"daily at {self.at:%H:%M}"
