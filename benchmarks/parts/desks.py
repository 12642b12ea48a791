"""The whole step at a desk: 75 desks scan a card and then a book, on the desk's own page (P16)."""

import asyncio
import random
import statistics
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlencode

from app.users.models import Role
from benchmarks.client import Client
from benchmarks.judging import Figure, at_most, percentile
from benchmarks.parts.lendable import DESKS, lendable
from benchmarks.stage import Stage

# Source: FOLIO's published check-out at 75 users, 2,436 ms at p95 (../shared/performance.md §3); a twentieth of it.
LIMIT_MS: Final = 2_436 / 20
EVERY_SECONDS: Final = 3.0
WARM_UP: Final = 1
OK: Final = 200


def measure(stage: Stage) -> list[Figure]:
    steps = WARM_UP + (3 if stage.quick else 20)
    library = lendable(stage, "desks")
    tokens = library.tokens(Role.LIBRARIAN, DESKS)
    with ExitStack() as stack:
        server = stage.serve(stack, library.settings, cores="0,1", WEB_CONCURRENCY="2")
        seconds = asyncio.run(_all(server.address, tokens, steps))
    lent = stage.ask("SELECT count(*) FROM loans", database="desks")
    if lent != DESKS * steps:
        raise RuntimeError(f"{lent} loans came of {DESKS * steps} steps")
    p95 = percentile(seconds, 0.95) * 1_000
    detail = f"{DESKS / EVERY_SECONDS:.0f} steps a second, median {statistics.median(seconds) * 1_000:.0f} ms"
    return [at_most("P16", f"card and book scanned at {DESKS} desks, p95 ms", p95, LIMIT_MS, detail)]


async def _all(address: str, tokens: list[str], steps: int) -> list[float]:
    turns = (range(2 + number * steps, 2 + (number + 1) * steps) for number in range(DESKS))
    took = await asyncio.gather(*(_desk(address, token, its) for token, its in zip(tokens, turns, strict=True)))
    return [seconds for desk in took for seconds in desk[WARM_UP:]]


async def _desk(address: str, token: str, turns: range) -> list[float]:
    """One desk; where a scan takes longer than the next reader takes to come, he waits."""
    client = await Client.connected(address)
    await asyncio.sleep(random.uniform(0, EVERY_SECONDS))  # noqa: S311  # readers come as they like
    took = []
    for turn in turns:
        seconds = await _scan(client, token, {"code": f"c-{turn}"})
        took.append(seconds + await _scan(client, token, {"code": f"b-{turn}", "card": f"c-{turn}"}))
        await asyncio.sleep(max(0, EVERY_SECONDS - took[-1]))
    client.close()
    return took


async def _scan(client: Client, token: str, typed: dict[str, str]) -> float:
    headers = {
        "Authorization": f"Bearer {token}", "HX-Request": "true", "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/x-www-form-urlencoded",
    }  # fmt: skip
    answer = await client.ask("POST", "/desk/scans", body=urlencode(typed).encode(), headers=headers)
    if answer.status != OK:
        raise RuntimeError(f"{typed}: {answer}")
    return answer.seconds
