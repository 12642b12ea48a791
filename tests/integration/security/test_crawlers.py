"""Crawlers at a real server: they fill their own lane, and readers who have signed in go on (R9, small)."""

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime

import pytest

from app.books import service as books
from app.books.schemas import BookCreate
from app.core.config import Settings
from app.core.db import Database
from benchmarks.client import Client
from benchmarks.judging import percentile
from tests import evidence
from tests.circulation import Library
from tests.integration.commands.command_line import CommandLine
from tests.tokens import sign_in

pytestmark = pytest.mark.anyio

CRAWLERS = 120
READERS = 3
LOOKS = 5
BOOKS = 200
# On a machine that others load; the goal is 0.3 s (make bench). With one lane for all they were given up after 8 s.
LIMIT_SECONDS = 3


async def _crawl(address: str, number: int, answered: Counter[int]) -> None:
    """Search after search, without a pause, each from another address; every third with a key that is made up."""
    client = await Client.connected(address)
    try:
        for turn in itertools.count():
            headers = {"X-Forwarded-For": f"198.18.{number}.{turn % 250}", "Accept": "text/html"}
            if turn % 3 == 0:
                headers["Authorization"] = f"Bearer lib_{number}-{turn}"
            path = f"/?q=lamp&subject=Light&year_from={1900 + turn % 90}&sort=relevance"
            answered[(await client.ask("GET", path, headers=headers)).status] += 1
    finally:
        client.close()


async def _read(address: str, token: str) -> list[float]:
    client = await Client.connected(address)
    felt = []
    for turn in range(LOOKS):
        for path in (f"/api/v1/books?q=lamp&year_from={1800 + turn}", f"/api/v1/books/{turn + 1}"):
            answer = await client.ask("GET", path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status == 200, answer
            felt.append(answer.seconds)
            await asyncio.sleep(0.1)
    client.close()
    return felt


async def test_readers_go_on_while_crawlers_search(settings: Settings, database: Database, backend: str) -> None:
    async with database.transaction() as session:
        for number in range(BOOKS):
            data = BookCreate(title=f"The Lamp {number}", subjects=["Light"], year=1900 + number % 90)
            await books.add(session, data=data, now=datetime.now(UTC))
    served = settings.model_copy(update={"public_url": "http://localhost"})
    tokens = await sign_in(database, served, await Library(database).readers(READERS))
    answered = Counter[int]()
    line = CommandLine.of(served)
    with line.serving(SCHEDULER_ENABLED="false", FORWARDED_ALLOW_IPS="127.0.0.1,::1", LOG_LEVEL="ERROR") as service:
        crawlers = [asyncio.create_task(_crawl(service.address, number, answered)) for number in range(CRAWLERS)]
        await asyncio.sleep(0.5)
        felt = await asyncio.gather(*(_read(service.address, token) for token in tokens))
        for crawler in crawlers:
            crawler.cancel()
        assert {type(each) for each in await asyncio.gather(*crawlers, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        told = service.get("/metrics").text
    p95 = percentile([each for reader in felt for each in reader], 0.95)
    evidence.keep("R9", backend, p95_ms=round(p95 * 1_000), crawlers=answered.total())
    assert set(answered) <= {200, 303, 503}, "found, sent to sign in with what was made up, or told to come back"
    assert answered[503] > answered[200] > 0
    assert p95 < LIMIT_SECONDS
    counted = {line.split()[0]: float(line.split()[1]) for line in told.splitlines() if "turned_away_total{" in line}
    assert counted['requests_turned_away_total{lane="searches"}'] > 0
    assert counted['requests_turned_away_total{lane="members"}'] == 0
