"""From an edit to the answer that has it (P17), and the list's page 5,000 beside its first (P10)."""

import asyncio
import json
import statistics
from contextlib import ExitStack
from typing import Any, Final

from app.core.config import Settings
from app.core.db import Database
from benchmarks.client import Client
from benchmarks.judging import Figure, at_least, at_most, percentile
from benchmarks.stage import Stage
from tests.tokens import librarian, sign_in

API: Final = "/api/v1/books"
PAGE: Final = 20
STRIDE: Final = 100
OK: Final = 200


def measure(stage: Stage) -> list[Figure]:
    settings = stage.catalogue
    edits, rounds = (20, 100) if stage.quick else (200, 500)
    page = 1_000 if stage.quick else 4_990
    with ExitStack() as stack:
        server = stage.serve(stack, settings, CACHE_ENABLED="false")
        editing = stage.serve(stack, settings)
        far = [asyncio.run(_far(server.address, sort, page, rounds)) for sort in ("title", "newest")]
        found, seconds = asyncio.run(_edits(editing.address, asyncio.run(_token(settings)), edits))
    return [
        *far,
        at_least("P17", "edits found by the editor's next search, share", found / edits, 1, f"{edits} edits"),
        at_most("P17", "edit sent to edit found, p95 ms", percentile(seconds, 0.95) * 1_000, 3_000),
    ]


async def _far(address: str, sort: str, page: int, rounds: int) -> Figure:
    """Medians of interleaved requests for the first page and for one behind so many others."""
    client = await Client.connected(address)
    first = f"{API}?sort={sort}&limit={PAGE}"
    cursor = ""
    for _ in range(page * PAGE // STRIDE):
        cursor = f"&cursor={(await _json(client, f'{API}?sort={sort}&limit={STRIDE}{cursor}'))['next']}"
    seconds: dict[str, list[float]] = {first: [], first + cursor: []}
    for number in range(rounds):
        for path in sorted(seconds, reverse=bool(number % 2)):
            seconds[path].append((await client.ask("GET", path)).seconds)
    client.close()
    near, far = (statistics.median(each) * 1_000 for each in seconds.values())
    return at_most("P10", f"page {page:,} by {sort} over page 1", far / near, 1.2, f"{near:.1f} ms to {far:.1f}")


async def _edits(address: str, token: str, count: int) -> tuple[int, list[float]]:
    """How many edits the next search found, and how long each took from being sent to being found."""
    client = await Client.connected(address)
    signed_in = {"Authorization": f"Bearer {token}"}
    found, seconds = 0, []
    for number in range(count):
        path, word = f"{API}/{number + 1}", f"zyx{number:04}q".translate(str.maketrans("0123456789", "abcdefghij"))
        book = await _json(client, path)
        sent = json.dumps({"subtitle": f"A subtitle with {word}"}).encode()
        headers = signed_in | {"If-Match": f'"{book["version"]}"', "Content-Type": "application/json"}
        edited = await client.ask("PATCH", path, body=sent, headers=headers)
        if edited.status != OK:
            raise RuntimeError(f"{path}: {edited}")
        answer = await client.ask("GET", f"{API}?q={word}", headers=signed_in)
        found += [item["id"] for item in json.loads(answer.body)["items"]] == [number + 1]
        seconds.append(edited.seconds + answer.seconds)
    client.close()
    return found, seconds


async def _json(client: Client, path: str) -> dict[str, Any]:
    answer = await client.ask("GET", path)
    if answer.status != OK:
        raise RuntimeError(f"{path}: {answer}")
    body: dict[str, Any] = json.loads(answer.body)
    return body


async def _token(settings: Settings) -> str:
    database = Database(settings)
    [token] = await sign_in(database, settings, [await librarian(database)])
    await database.close()
    return token
