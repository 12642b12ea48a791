"""Calendars: terms end on open days, at the end of the local day, in every time zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.branches.calendar import EVERY_DAY, Calendar

# Clocks that change at midnight, before it, by half an hour, twice around Ramadan, by two hours; and dull ones.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "America/Nuuk",
    "America/Asuncion", "Asia/Beirut", "Africa/Cairo", "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Chatham",
    "Pacific/Apia", "Asia/Kathmandu", "America/St_Johns", "Antarctica/Troll",
)  # fmt: skip
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)

# From 2012 on: Samoa left out the last Friday of 2011, and what ends on a day that never came is nobody's question.
instants = st.datetimes(datetime(2012, 1, 3), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds the zone
weekdays = st.frozensets(st.integers(1, 7), min_size=1)


@st.composite
def calendars_and_starts(draw: st.DrawFn) -> tuple[Calendar, datetime]:
    """A calendar with exceptions where they matter: in the weeks after the instant that comes with it."""
    start = draw(instants)
    near = st.integers(-3, 60).map(lambda days: start.date() + days * DAY)
    calendar = Calendar(
        zone=ZoneInfo(draw(st.sampled_from(ZONES))),
        open_weekdays=draw(weekdays),
        exceptions=draw(st.dictionaries(near, st.booleans(), max_size=40)),
    )
    return calendar, start


def local_day(calendar: Calendar, instant: datetime) -> date:
    return instant.astimezone(calendar.zone).date()


def days_after(calendar: Calendar, start: datetime, end: datetime) -> list[date]:
    """Every local day after that of `start`, up to that of `end`."""
    first, last = local_day(calendar, start), local_day(calendar, end)
    return [first + n * DAY for n in range(1, (last - first).days + 1)]


def assert_ends_its_day(calendar: Calendar, instant: datetime) -> None:
    assert instant.tzinfo is UTC
    assert local_day(calendar, instant + SECOND) > local_day(calendar, instant), "the day is not over"
    assert local_day(calendar, instant + SECOND) == local_day(calendar, instant) + DAY


@given(calendars_and_starts(), st.integers(0, 90))
def test_a_due_date_is_the_end_of_the_first_open_day_that_leaves_the_days_promised(
    given_: tuple[Calendar, datetime], days: int
) -> None:
    calendar, start = given_
    due = calendar.due_at(start, days=days)
    assert_ends_its_day(calendar, due)
    day, wanted = local_day(calendar, due), local_day(calendar, start) + days * DAY
    assert calendar.is_open(day)
    assert day >= wanted
    assert not any(calendar.is_open(wanted + n * DAY) for n in range((day - wanted).days))


@given(calendars_and_starts(), st.integers(1, 40))
def test_a_copy_is_kept_for_so_many_open_days(given_: tuple[Calendar, datetime], days: int) -> None:
    calendar, start = given_
    until = calendar.pickup_until(start, days=days)
    assert_ends_its_day(calendar, until)
    assert calendar.is_open(local_day(calendar, until))
    assert sum(map(calendar.is_open, days_after(calendar, start, until))) == days
    assert calendar.open_days_between(start, until) == days


@given(calendars_and_starts(), st.timedeltas(timedelta(days=-30), timedelta(days=120)))
def test_open_days_are_counted_as_one_by_one(given_: tuple[Calendar, datetime], span: timedelta) -> None:
    calendar, start = given_
    end = start + span
    expected = sum(map(calendar.is_open, days_after(calendar, start, end))) if span > timedelta() else 0
    assert calendar.open_days_between(start, end) == expected


@given(calendars_and_starts(), st.integers(0, 20_000), st.integers(0, 20_000))
def test_open_days_of_two_spans_add_up(given_: tuple[Calendar, datetime], first: int, second: int) -> None:
    calendar, start = given_
    middle, end = start + first * DAY, start + (first + second) * DAY
    parts = calendar.open_days_between(start, middle) + calendar.open_days_between(middle, end)
    assert calendar.open_days_between(start, end) == parts


@given(calendars_and_starts(), st.integers(0, 60))
def test_nothing_is_late_before_it_is_due(given_: tuple[Calendar, datetime], days: int) -> None:
    calendar, start = given_
    due = calendar.due_at(start, days=days)
    assert calendar.open_days_between(due, due) == 0
    assert calendar.open_days_between(due, due - SECOND) == 0
    late = calendar.due_at(due + SECOND, days=0)
    assert calendar.open_days_between(due, late) == 1, "the first open day after the due date costs one day"


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("Europe/Berlin", date(2026, 3, 28), "2026-03-28T22:59:59+00:00"),
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T21:59:59+00:00"),
        ("Asia/Kathmandu", date(2026, 3, 28), "2026-03-28T18:14:59+00:00"),
        # Clocks go back from midnight to 23:00: the day has two last seconds, and the second one ends it.
        ("Asia/Beirut", date(2024, 10, 26), "2024-10-26T21:59:59+00:00"),
        # Clocks go forward from 23:00 to midnight: the day ends an hour early.
        ("America/Nuuk", date(2024, 3, 30), "2024-03-31T00:59:59+00:00"),
    ],
)
def test_a_day_ends_when_its_clocks_say_so(zone: str, day: date, end: str) -> None:
    calendar = Calendar(zone=ZoneInfo(zone), open_weekdays=EVERY_DAY, exceptions={})
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=calendar.zone)
    due = calendar.due_at(noon, days=0)
    assert due == datetime.fromisoformat(end)
    assert_ends_its_day(calendar, due)


def test_the_day_of_a_loan_is_the_local_one() -> None:
    calendar = Calendar(zone=ZoneInfo("Pacific/Auckland"), open_weekdays=EVERY_DAY, exceptions={})
    evening_in_utc = datetime(2026, 6, 1, 20, tzinfo=UTC)  # 08:00 on the second in Auckland
    assert local_day(calendar, calendar.due_at(evening_in_utc, days=1)) == date(2026, 6, 3)


def test_a_library_that_closes_for_years_gives_the_day_on_which_it_opens_again() -> None:
    monday = date(2026, 1, 5)
    closed = {monday + n * 7 * DAY: False for n in range(2_000)}
    calendar = Calendar(zone=ZoneInfo("UTC"), open_weekdays=frozenset({1}), exceptions=closed)
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    reopened = monday + 2_000 * 7 * DAY
    assert local_day(calendar, calendar.due_at(start, days=28)) == reopened
    assert local_day(calendar, calendar.pickup_until(start, days=2)) == reopened + 7 * DAY
    assert calendar.open_days_between(start, start + 2_001 * 7 * DAY) == 1


@given(instants, st.integers(0, 400), st.lists(st.integers(1, 30), max_size=3, unique=True))
def test_a_branch_that_never_opens_again_ends_every_search(start: datetime, days: int, offsets: list[int]) -> None:
    opened = {start.date() + n * DAY: True for n in offsets}
    calendar = Calendar(zone=ZoneInfo("UTC"), open_weekdays=frozenset(), exceptions=opened)
    wanted = start.date() + days * DAY
    expected = min((day for day in opened if day >= wanted), default=wanted)
    assert local_day(calendar, calendar.due_at(start, days=days)) == expected
    assert calendar.open_days_between(start, start + 100 * DAY) == len(offsets)
    if not offsets:
        assert local_day(calendar, calendar.pickup_until(start, days=days)) == wanted
