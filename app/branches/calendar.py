"""A branch's calendar: which days it opens, and when a term that is counted in days ends there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

EVERY_DAY: Final = frozenset(range(1, 8))

_DAY: Final = timedelta(days=1)
_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Calendar:
    """Opening days in local time. `open_weekdays` are ISO (1 is Monday); `exceptions` say of single days whether they
    are open, whatever their weekday.

    All methods are pure. Instants are aware; days are those of `zone`.
    """

    zone: ZoneInfo
    open_weekdays: frozenset[int]
    exceptions: Mapping[date, bool]

    def is_open(self, day: date) -> bool:
        return self.exceptions.get(day, day.isoweekday() in self.open_weekdays)

    def due_at(self, start: datetime, *, days: int) -> datetime:
        """The end (23:59:59 local, in UTC) of the first open day that is `days` or more after the day of `start`."""
        wanted = self._day_of(start) + timedelta(days=days)
        return self._end_of(next(self._open_days(wanted), wanted))

    def pickup_until(self, start: datetime, *, days: int) -> datetime:
        """The end (23:59:59 local, in UTC) of the `days`-th open day after the day of `start`.

        A branch that never opens again counts all days.
        """
        day = self._day_of(start)
        open_days = self._open_days(day + _DAY)
        for _ in range(days):
            day = next(open_days, day + _DAY)
        return self._end_of(day)

    def open_days_between(self, start: datetime, end: datetime) -> int:
        """How many open days come after the day of `start`, up to and with that of `end`; 0 if `end` is not later.

        Cost: follows the exceptions, not the days.
        """
        first, last = self._day_of(start), self._day_of(end)
        if end <= start or last <= first:
            return 0
        weeks, rest = divmod((last - first).days, _WEEK)
        usual = weeks * len(self.open_weekdays)
        usual += sum((last - n * _DAY).isoweekday() in self.open_weekdays for n in range(rest))
        unusual = sum(
            is_open - (day.isoweekday() in self.open_weekdays)
            for day, is_open in self.exceptions.items()
            if first < day <= last
        )
        return usual + unusual

    def _open_days(self, start: date) -> Iterator[date]:
        """Open days from `start` on; ends only if the branch never opens again.

        With `n` exceptions the next one is at most n + 1 weeks away, as long as one weekday is open; without such a
        weekday there is none after the last exception.
        """
        last_exception = max(self.exceptions, default=start)
        day = start
        while self.open_weekdays or day <= last_exception:
            if self.is_open(day):
                yield day
            day += _DAY

    def _day_of(self, instant: datetime) -> date:
        return instant.astimezone(self.zone).date()

    def _end_of(self, day: date) -> datetime:
        """The last second of a local day.

        fold=1: where clocks are set back at midnight, 23:59:59 comes twice and the day ends with the second one; where
        they are set forward before midnight it never comes, and this is the second before the gap.
        """
        return datetime.combine(day, time(23, 59, 59, fold=1), self.zone).astimezone(UTC)
