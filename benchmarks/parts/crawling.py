"""Crawlers ask many-facet searches from thousands of addresses; what readers who have signed in feel (R9).

Here alone the limits are those that ship: they are what is measured.
"""

import asyncio
import random
import sys
from collections import Counter
from contextlib import ExitStack
from typing import Final
from urllib.parse import quote

from app.core.config import Settings
from app.core.db import Database
from benchmarks.client import Client
from benchmarks.judging import Figure, at_most, percentile
from benchmarks.stage import Stage
from benchmarks.wrk import serving
from tests.circulation import Library
from tests.tokens import sign_in

ADDRESSES: Final = 5_000
READERS: Final = 10
CRAWLERS: Final = 300  # each at once with the others, without a pause: more than may stand in line
PAUSE_SECONDS: Final = 0.5
LIMIT_MS: Final = 300
WORDS: Final = ("history", "law", "music", "war", "science", "poetry", "guide", "economic", "children", "church")
SUBJECTS: Final = ("History", "Law", "Music", "Poetry", "Education", "Economic policy", "Railroads", "Painting")
OK: Final = 200
FAILED_SECONDS: Final = 10.0  # what an answer counts that is none
REFUSED: Final = (429, 503)


def measure(stage: Stage) -> list[Figure]:
    seconds = 10 if stage.quick else 120
    settings = stage.catalogue
    tokens = asyncio.run(_readers(settings))
    own = stage.environment(settings) | {"WEB_CONCURRENCY": "2"}
    with ExitStack() as stack:
        server = stack.enter_context(
            serving(
                lambda port: [sys.executable, "-m", "app.cli", "serve", "--port", str(port)], own,
                ready="/health/ready", cores="0,1",
            )
        )  # fmt: skip
        felt, answered = asyncio.run(_both(server.address, tokens, seconds))
    p95 = percentile(felt, 0.95) * 1_000
    refused = sum(answered[status] for status in REFUSED)
    failed = felt.count(FAILED_SECONDS)
    refusals = f"{refused:,} of {answered.total():,} requests of crawlers refused in {seconds} s"
    detail = f"{failed} of {len(felt)} requests of readers failed; {refusals}"
    return [at_most("R9", "signed-in readers while crawlers search, p95 ms", p95, LIMIT_MS, detail)]


async def _both(address: str, tokens: list[str], seconds: int) -> tuple[list[float], Counter[int]]:
    answered = Counter[int]()
    crawlers = [asyncio.create_task(_crawl(address, number, answered)) for number in range(CRAWLERS)]
    await asyncio.sleep(1)
    felt = await asyncio.gather(*(_read(address, token, seconds) for token in tokens))
    for crawler in crawlers:
        crawler.cancel()
    await asyncio.gather(*crawlers, return_exceptions=True)
    return [each for reader in felt for each in reader], answered


async def _crawl(address: str, number: int, answered: Counter[int]) -> None:
    """Search after search, each from another address and with other facets, as fast as answers come."""
    chance = random.Random(number)  # noqa: S311  # a load
    client = await Client.connected(address)
    while True:
        since = chance.randrange(1900, 1990)
        sort, subject = chance.choice(("title", "relevance", "newest")), chance.choice(SUBJECTS)
        path = (
            f"/?q={chance.choice(WORDS)}&subject={quote(subject)}&language=eng"
            f"&year_from={since}&year_to={since + chance.randrange(40)}&sort={sort}"
        )
        origin = chance.randrange(ADDRESSES)
        headers = {"X-Forwarded-For": f"198.18.{origin // 250}.{origin % 250 + 1}", "Accept": "text/html"}
        answer = await client.ask("GET", path, headers=headers)
        answered[answer.status] += 1


async def _read(address: str, token: str, seconds: int) -> list[float]:
    """What a reader does: looks for a book, looks at one, at his loans."""
    client = await Client.connected(address)
    headers = {"Authorization": f"Bearer {token}"}
    chance = random.Random(token)  # noqa: S311  # a load
    end = asyncio.get_running_loop().time() + seconds
    felt = []
    while asyncio.get_running_loop().time() < end:
        searched = f"/api/v1/books?q={chance.choice(WORDS)}"
        for path in (searched, f"/api/v1/books/{chance.randrange(1, 10_000)}", "/api/v1/auth/me/loans"):
            answer = await client.ask("GET", path, headers=headers)
            felt.append(answer.seconds if answer.status == OK else FAILED_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)
    client.close()
    return felt


async def _readers(settings: Settings) -> list[str]:
    database = Database(settings)
    tokens = await sign_in(database, settings, await Library(database).readers(READERS))
    await database.close()
    return tokens
