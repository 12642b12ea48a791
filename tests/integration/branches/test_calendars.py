"""Calendars over HTTP: staff of a branch say when it opens; what circulation computes follows."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest

from app.branches import service as branches
from app.branches.calendar import EVERY_DAY, Calendar
from app.core.db import Database
from tests.conftest import Person

pytestmark = pytest.mark.anyio

API = "/api/v1"
URL = f"{API}/branches/main/calendar"
WEEK = {"open_weekdays": [1, 2, 3, 4, 5], "exceptions": []}


async def test_a_branch_is_open_every_day_until_somebody_says_otherwise(
    client: httpx2.AsyncClient, admin: Person, database: Database
) -> None:
    await admin.client.post(f"{API}/branches", json={"id": "river", "name": "River", "timezone": "Asia/Kathmandu"})
    for branch, zone in (("main", "UTC"), ("river", "Asia/Kathmandu")):
        answer = await client.get(f"{API}/branches/{branch}/calendar")
        assert answer.json() == {"timezone": zone, "open_weekdays": [1, 2, 3, 4, 5, 6, 7], "exceptions": []}
        assert answer.headers["ETag"] == '"1"'
    async with database.reading() as session:
        for branch, zone in (("main", "Europe/Berlin"), ("river", "Asia/Kathmandu")):
            read = await branches.calendar(session, branch, "Europe/Berlin")
            assert read == Calendar(zone=ZoneInfo(zone), open_weekdays=EVERY_DAY, exceptions={})
        with pytest.raises(branches.BranchNotFound):
            await branches.calendar(session, "nowhere", "UTC")


async def test_staff_of_a_branch_say_when_it_opens(
    librarian: Person, client: httpx2.AsyncClient, database: Database
) -> None:
    body = {
        "open_weekdays": [6, 1, 3],
        "exceptions": [
            {"on": "2026-12-26", "is_open": False, "note": "Boxing Day"},
            {"on": "2026-12-06", "is_open": True},
        ],
    }
    answer = await librarian.client.put(URL, json=body, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == '"2"'
    assert answer.json() == {
        "timezone": "UTC",
        "open_weekdays": [1, 3, 6],
        "exceptions": [
            {"on": "2026-12-06", "is_open": True, "note": None},
            {"on": "2026-12-26", "is_open": False, "note": "Boxing Day"},
        ],
    }
    seen = await client.get(URL)
    assert (seen.json(), seen.headers["ETag"]) == (answer.json(), '"2"')
    assert (await client.get(URL, headers={"If-None-Match": '"2"'})).status_code == 304
    assert (await client.get(f"{API}/branches/main")).json()["version"] == 2
    async with database.reading() as session:
        calendar = await branches.calendar(session, "main", "Europe/Berlin")
    assert calendar == Calendar(
        zone=ZoneInfo("Europe/Berlin"),
        open_weekdays=frozenset({1, 3, 6}),
        exceptions={date(2026, 12, 6): True, date(2026, 12, 26): False},
    )
    # From Wednesday the 23rd three days lead to the closed Saturday, and the next open day is Monday.
    due = calendar.due_at(datetime(2026, 12, 23, 12, tzinfo=UTC), days=3)
    assert due == datetime(2026, 12, 28, 22, 59, 59, tzinfo=UTC)


async def test_saying_the_same_again_is_no_change(librarian: Person) -> None:
    for _ in range(2):
        answer = await librarian.client.put(URL, json=WEEK, headers={"If-Match": "*"})
        assert answer.headers["ETag"] == '"2"'


async def test_a_change_names_the_version_that_it_saw(librarian: Person, admin: Person) -> None:
    assert (await librarian.client.put(URL, json=WEEK)).status_code == 428
    await admin.client.patch(f"{API}/branches/main", json={"name": "Town"}, headers={"If-Match": "*"})
    stale = await librarian.client.put(URL, json=WEEK, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["code"], stale.headers["ETag"]) == (412, "version_changed", '"2"')
    assert stale.json()["current"]["open_weekdays"] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_calendar_is_for_staff_of_its_branch(
    reader: Person, librarian: Person, admin: Person, client: httpx2.AsyncClient
) -> None:
    await admin.client.post(f"{API}/branches", json={"id": "river", "name": "Riverside"})
    other, headers = f"{API}/branches/river/calendar", {"If-Match": "*"}
    assert (await client.put(URL, json=WEEK, headers=headers)).status_code == 401
    assert (await reader.client.put(URL, json=WEEK, headers=headers)).json()["code"] == "forbidden"
    assert (await librarian.client.put(other, json=WEEK, headers=headers)).json()["code"] == "not_your_branch"
    assert (await admin.client.put(other, json=WEEK, headers=headers)).status_code == 200
    assert (await admin.client.put(f"{API}/branches/x/calendar", json=WEEK, headers=headers)).status_code == 404
    await admin.client.delete(f"{API}/branches/river", headers=headers)
    assert (await admin.client.put(other, json=WEEK, headers=headers)).status_code == 410
    assert (await client.get(other)).status_code == 410


async def test_a_closed_branch_still_has_the_calendar_by_which_its_loans_come_back(
    admin: Person, database: Database
) -> None:
    await admin.client.post(f"{API}/branches", json={"id": "river", "name": "Riverside"})
    await admin.client.put(f"{API}/branches/river/calendar", json=WEEK, headers={"If-Match": "*"})
    await admin.client.delete(f"{API}/branches/river", headers={"If-Match": "*"})
    async with database.reading() as session:
        assert (await branches.calendar(session, "river", "UTC")).open_weekdays == {1, 2, 3, 4, 5}


def _exceptions(*days: Any) -> dict[str, Any]:
    return {"open_weekdays": [1], "exceptions": [{"on": day, "is_open": False} for day in days]}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"open_weekdays": []},
        {"open_weekdays": [0]},
        {"open_weekdays": [8]},
        {"open_weekdays": [1, 1]},
        {"open_weekdays": ["1"]},
        {"open_weekdays": [True]},
        {"open_weekdays": [1], "timezone": "UTC"},
        {"open_weekdays": [1], "exceptions": [{"on": "2026-12-25"}]},
        {"open_weekdays": [1], "exceptions": [{"on": "2026-12-25", "is_open": 0}]},
        _exceptions("2026-12-25", "2026-12-25"),
        _exceptions("2026-02-30"),
        _exceptions("20261225"),
        _exceptions("2026-W52-5"),
        _exceptions("2026-12-25T00:00:00"),
        _exceptions(1_798_156_800),
        _exceptions(None),
        _exceptions("1999-12-31"),
        _exceptions("2200-01-01"),
        _exceptions("٢٠٢٦-١٢-٢٥"),
        _exceptions(*(f"{year}-{month:02}-{day:02}" for year in range(2026, 2034) for month in range(1, 13)
                      for day in range(1, 22))),
    ],
    ids=range(21),
)  # fmt: skip
async def test_a_calendar_that_makes_no_sense_is_refused(librarian: Person, body: dict[str, Any]) -> None:
    answer = await librarian.client.put(URL, json=body, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed"), answer.text
    assert (await librarian.client.get(URL)).headers["ETag"] == '"1"'


async def test_two_thousand_exceptions_fit(librarian: Person) -> None:
    days = [
        f"{year}-{month:02}-{day:02}" for year in range(2026, 2046) for month in (1, 2, 3, 4) for day in range(1, 26)
    ]
    answer = await librarian.client.put(URL, json=_exceptions(*days), headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["exceptions"]) == 2_000
