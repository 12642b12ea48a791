"""Import and export over HTTP: stored, queued, taken in by one process, taken up after a crash."""

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import func, select, update

from app.books.models import Book
from app.core.config import Settings
from app.core.db import Database
from app.imports import readers, running, service
from app.imports.models import ImportJob
from app.imports.schemas import ImportStatus
from tests.conftest import Person
from tests.integration.imports.files import marc

pytestmark = pytest.mark.anyio

IMPORT = "/api/v1/books/import"


def clock() -> datetime:
    return datetime.now(UTC)


async def upload(person: Person, data: bytes, **query: Any) -> dict[str, Any]:
    answer = await person.client.post(IMPORT, content=data, params=query)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/api/v1/imports/{job['id']}"
    return job


async def job_of(person: Person, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await person.client.get(f"/api/v1/imports/{job['id']}")).json()
    return found


async def test_an_upload_is_queued_taken_in_and_told_record_by_record(
    librarian: Person, database: Database, settings: Settings
) -> None:
    noisy = marc(1, "Dune /") + b"garbage\x1d" + marc(2, "Emma /")
    job = await upload(librarian, gzip.compress(noisy), file_name="new books.mrc.gz")
    assert (job["status"], job["records"], job["format"]) == ("queued", 0, "marc")
    assert await running.run_pending(database, settings=settings, clock=clock)
    done = await job_of(librarian, job)
    assert (done["status"], done["records"], done["problem"], done["file_name"]) == (
        "finished", 3, None, "new books.mrc.gz",
    )  # fmt: skip
    assert {name: count for name, count in done["counts"].items() if count} == {"imported": 2, "rejected": 1}
    records = f"/api/v1/imports/{job['id']}/records"
    page = (await librarian.client.get(records, params={"limit": 2})).json()
    rest = (await librarian.client.get(records, params={"limit": 2, "cursor": page["next"]})).json()
    assert [item["verdict"] for item in page["items"] + rest["items"]] == ["imported", "rejected", "imported"]
    [rejected] = (await librarian.client.get(records, params={"verdict": "rejected"})).json()["items"]
    assert "not a MARC record" in rejected["reason"]
    assert len((await librarian.client.get("/api/v1/books?q=dune")).json()["items"]) == 1
    assert not await running.run_pending(database, settings=settings, clock=clock)
    assert list((settings.data_dir / "imports").iterdir()) == []


async def test_a_form_with_a_file_is_taken_too_and_one_without_is_refused(
    librarian: Person, database: Database, settings: Settings
) -> None:
    form = {"file": ("books.csv", b"title\nDune\n", "text/csv")}
    answer = await librarian.client.post(IMPORT, files=form, data={"note": "ignored"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["size_bytes"] == len(b"title\nDune\n")
    await running.run_pending(database, settings=settings, clock=clock)
    assert (await job_of(librarian, answer.json()))["counts"]["imported"] == 1
    for without in ({"data": {"note": "x"}, "files": {"note": (None, b"x")}}, {"content": b""}):
        answer = await librarian.client.post(IMPORT, **without)
        assert answer.json()["code"] in {"no_file_sent", "file_empty"}, answer.text


async def test_what_can_be_no_catalogue_is_refused_at_once_and_leaves_nothing(
    librarian: Person, settings: Settings
) -> None:
    for content, code in ((b"<html></html>", "file_is_html"), (b"%PDF", "unknown_format"), (b"\n", "file_empty")):
        answer = await librarian.client.post(IMPORT, content=content)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert list((settings.data_dir / "imports").iterdir()) == []


async def test_a_file_over_the_limit_is_refused_while_it_comes_in(
    librarian: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.__dict__, "max_import_size", 200_000)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield marc(1) * 100

    answer = await librarian.client.post(IMPORT, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert list((settings.data_dir / "imports").iterdir()) == []


async def test_other_addresses_still_refuse_more_than_a_megabyte(librarian: Person) -> None:
    assert (await upload(librarian, marc(1) * 12_000))["size_bytes"] > 1_000_000
    answer = await librarian.client.post("/api/v1/books", content=b"x" * 1_100_000)
    assert answer.status_code == 413


async def test_readers_and_strangers_neither_import_nor_export(reader: Person, client: httpx2.AsyncClient) -> None:
    for path, method in ((IMPORT, "POST"), ("/api/v1/books/export", "GET"), (f"/api/v1/imports/{UUID(int=0)}", "GET")):
        assert (await client.request(method, path)).status_code == 401
        assert (await reader.client.request(method, path)).status_code == 403


async def test_the_same_file_while_it_waits_is_one_job(librarian: Person) -> None:
    first, second = await upload(librarian, marc(1)), await upload(librarian, marc(1))
    other = await upload(librarian, marc(1), dry_run=True)
    assert first["id"] == second["id"] != other["id"]


async def test_a_dry_run_tells_and_changes_nothing(librarian: Person, database: Database, settings: Settings) -> None:
    job = await upload(librarian, marc(1), dry_run=True)
    await running.run_pending(database, settings=settings, clock=clock)
    assert (await job_of(librarian, job))["counts"]["imported"] == 1
    async with database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(Book)) == 0


async def test_many_processes_run_one_job_once(librarian: Person, database: Database, settings: Settings) -> None:
    job = await upload(librarian, b"".join(marc(number) for number in range(1, 40)))
    others = [Database(settings) for _ in range(3)]
    ran = await asyncio.gather(
        *(running.run_pending(each, settings=settings, clock=clock) for each in (database, *others))
    )
    for other in others:
        await other.close()
    assert Counter(ran) == {True: 1, False: 3}
    assert (await job_of(librarian, job))["counts"]["imported"] == 39


async def test_a_job_whose_process_died_is_taken_up_where_it_stopped(
    librarian: Person, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BATCH_RECORDS", 10)
    job = await upload(librarian, b"".join(marc(number) for number in range(1, 36)))
    dying = Database(settings)

    def clock_that_stops() -> datetime:
        if len(ticks) == 6:
            raise RuntimeError("the process is gone")
        ticks.append(0)
        return clock()

    ticks: list[int] = []
    with pytest.raises(RuntimeError, match="gone"):
        await running.run_pending(dying, settings=settings, clock=clock_that_stops)
    await dying.close()
    stopped = await job_of(librarian, job)
    assert (stopped["status"], stopped["records"] % 10) == ("running", 0)
    assert 0 < stopped["records"] < 35
    assert not await running.run_pending(database, settings=settings, clock=clock), "its lease still runs"

    def later() -> datetime:
        return clock() + timedelta(minutes=2)

    assert await running.run_pending(database, settings=settings, clock=later)
    done = await job_of(librarian, job)
    assert (done["status"], done["records"]) == ("finished", 35)
    assert {name: count for name, count in done["counts"].items() if count} == {"imported": 35}


async def test_a_job_that_was_taken_over_writes_nothing_more(
    librarian: Person, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "BATCH_RECORDS", 10)
    job = await upload(librarian, b"".join(marc(number) for number in range(1, 36)))
    calls = 0

    def clock_while_another_takes_over() -> datetime:
        nonlocal calls
        calls += 1
        return clock()

    original = service.take_in

    async def overtaken(*arguments: Any, **how: Any) -> Any:
        async with database.transaction() as session:
            await session.execute(update(ImportJob).values(attempt=ImportJob.attempt + 1))
        return await original(*arguments, **how)

    monkeypatch.setattr(service, "take_in", overtaken)
    assert await running.run_pending(database, settings=settings, clock=clock_while_another_takes_over)
    seen = await job_of(librarian, job)
    assert (seen["status"], seen["records"]) == (ImportStatus.RUNNING, 0)
    async with database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(Book)) == 0
    assert calls > 0


@pytest.mark.parametrize(("wanted", "start"), [("marc", b"0"), ("marcxml", b"<?xml"), ("csv", b"id,"), ("jsonl", b"{")])
async def test_the_catalogue_is_given_out_in_each_format(librarian: Person, wanted: str, start: bytes) -> None:
    await librarian.client.post("/api/v1/books", json={"title": "Dune"})
    answer = await librarian.client.get("/api/v1/books/export", params={"format": wanted})
    assert answer.status_code == 200
    assert answer.content.startswith(start)
    assert b"Dune" in answer.content
    assert "attachment" in answer.headers["content-disposition"]
