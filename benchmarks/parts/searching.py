"""The same searches in a catalogue and in one five or ten times as large (P9)."""

import asyncio
import fcntl
import os
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from app.core.config import Settings
from benchmarks.client import Client
from benchmarks.judging import Figure, at_most, percentile
from benchmarks.parts.multiplied import multiply
from benchmarks.stage import Stage
from tests.conftest import _settings
from tests.servers import Postgres

CACHE: Final = Path(os.environ.get("BENCH_CACHE") or "/var/tmp/library-bench")  # noqa: S108  # kept between runs, nothing secret
QUICK_TIMES: Final = 5
TIMES: Final = 10
SUGGEST_MS: Final = 30
OK: Final = 200
SEED: Final = 9
# Words that stand in so many books of 100,000.
CLASSES: Final = {"rare": (2, 6), "mid": (100, 500), "common": (3_000, 100_000)}


def measure(stage: Stage) -> list[Figure]:
    count, rounds = (25, 2) if stage.quick else (100, 3)
    with ExitStack() as stack:
        small, large, books = stack.enter_context(_libraries(stage))
        asked = asyncio.run(_queries(str(small.database_url and small.database_url.get_secret_value()), count))
        addresses = [stage.serve(stack, each, CACHE_ENABLED="false").address for each in (small, large)]
        took = asyncio.run(_took(addresses, asked, rounds))
    figures = []
    for kind in asked:
        near, far = took[kind]
        if kind == "suggest":
            figures.append(
                at_most("P9", "suggest, p95 ms", percentile(far, 0.95) * 1_000, SUGGEST_MS, f"{books:,} books")
            )
            continue
        for name, limit, share in (("p50", 1.3, 0.5), ("p95", 2.0, 0.95)):
            once, now = (percentile(each, share) * 1_000 for each in (near, far))
            detail = f"{once:.1f} ms to {now:.1f}; {books:,} books"
            figures.append(at_most("P9", f"search, {kind}, {name} over a smaller library's", now / once, limit, detail))
    return figures


@contextmanager
def _libraries(stage: Stage) -> Iterator[tuple[Settings, Settings, int]]:
    """The small one, the large one, and how many books that has. The million is built once and kept."""
    if stage.quick:
        small = stage.catalogue
        large = stage.library("multiplied", like="catalogue")
        multiply(f"{stage.cluster.url}/multiplied", QUICK_TIMES)
        yield small, large, stage.ask("SELECT count(*) FROM books", database="multiplied")
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two runs one builds, and neither takes the other's away
        with _kept(stage) as (small, large):
            yield small, large, asyncio.run(_books(large))


@contextmanager
def _kept(stage: Stage) -> Iterator[tuple[Settings, Settings]]:
    if not (CACHE / "made").exists():  # what a run that broke off has left can't be gone on with
        shutil.rmtree(CACHE / "cluster", ignore_errors=True)
    cluster = Postgres(CACHE / "cluster")
    cluster.start(durable=True)
    try:
        kept = Stage(stage.quick, stage.stack, kept=cluster)
        if not (CACHE / "made").exists():
            began = time.monotonic()
            kept.take_in()
            kept.library("multiplied", like="catalogue")
            multiply(f"{cluster.url}/multiplied", TIMES)
            (CACHE / "made").write_text(f"{time.monotonic() - began:.0f} s\n")
        small, large = (
            _settings(stage.folder, database_url=f"{cluster.url}/{name}").model_copy(
                update={"public_url": "http://localhost"}
            )
            for name in ("catalogue", "multiplied")
        )
        yield small, large
    finally:
        cluster.stop("fast")


async def _books(settings: Settings) -> int:
    assert settings.database_url
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    count: int = await connection.fetchval("SELECT count(*) FROM books")
    await connection.close()
    return count


async def _queries(url: str, count: int) -> dict[str, list[str]]:
    """Addresses by what is hard about them; the words are those of the small library, drawn by chance."""
    connection = await asyncpg.connect(url)
    books = await connection.fetchval("SELECT count(*) FROM books")
    rows = await connection.fetch(
        "SELECT word, ndoc FROM ts_stat('SELECT vector FROM book_terms') WHERE word ~ '^[a-z]{5,12}$' ORDER BY word"
    )
    await connection.close()
    chance = random.Random(SEED)  # noqa: S311  # a choice of words
    known = {row["word"] for row in rows}
    words = {}
    for kind, bounds in CLASSES.items():
        least, most = (bound if kind == "rare" else bound * books / 100_000 for bound in bounds)
        possible = [row["word"] for row in rows if least <= row["ndoc"] <= most]
        words[kind] = chance.sample(possible, min(count, len(possible)))
    words["prefix"] = [f"{word[:4]}*" for word in words["mid"]]
    words["typo"] = [wrong for word in words["mid"] if (wrong := word[:2] + "x" + word[3:]) not in known]
    asked = {kind: [f"/api/v1/books?limit=20&q={quote(word)}" for word in found] for kind, found in words.items()}
    asked["suggest"] = [f"/api/v1/books/suggest?q={word[:size]}" for word in words["mid"] for size in (2, 3, 5)]
    return asked


async def _took(addresses: list[str], asked: dict[str, list[str]], rounds: int) -> dict[str, list[list[float]]]:
    """By kind: the seconds of every search in the one library and in the other, asked by turns."""
    clients = [await Client.connected(address) for address in addresses]
    took: dict[str, list[list[float]]] = {}
    for kind, paths in asked.items():
        took[kind] = [[], []]
        for path in paths:
            times: list[list[float]] = [[], []]
            for _ in range(rounds + 1):
                for client, seconds in zip(clients, times, strict=True):
                    answer = await client.ask("GET", path)
                    if answer.status != OK:
                        raise RuntimeError(f"{path}: {answer}")
                    seconds.append(answer.seconds)
            for kept, seconds in zip(took[kind], times, strict=True):
                kept.append(statistics.median(seconds[1:]))
    for client in clients:
        client.close()
    return took
