"""The second half of a soak: millions of requests without a fault, while circulation goes on, and a watch for leaks."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import psutil
from sqlalchemy import text

from app.core.config import Settings
from app.core.db import Database
from benchmarks.soaking import watching, world
from benchmarks.soaking.ledger import TIMEOUT_SECONDS, Ledger
from benchmarks.soaking.load import visit
from benchmarks.soaking.watching import Held, Sample
from tests.integration.commands.command_line import Service

BOOKS: Final = 200
READERS: Final = 40
CONNECTIONS: Final = 24
DESKS: Final = 2
WARM_UP_REQUESTS: Final = 20_000
CALM_SECONDS: Final = 6.0
BETWEEN_LOOKS_SECONDS: Final = 1.0
MOST_LOOKS: Final = 2_000
ROUND: Final = 100
# Of each hundred: what is kept, and what is worked out anew.
KEPT: Final = 95
SCRIPT: Final = """
local kept = {kept}
local tokens = {tokens}
local n = 0
request = function()
  n = n + 1
  local turn = n % {round}
  if turn < {share} then return wrk.format('GET', kept[n % #kept + 1]) end
  local kind = turn % 4
  if kind == 0 then return wrk.format('GET', '/api/v1/books/' .. math.random(1, {books}) .. '/availability') end
  if kind == 1 then return wrk.format('GET', '/api/v1/books?q=dune&limit=' .. math.random(1, 20)) end
  if kind == 2 then return wrk.format('GET', '/api/v1/books/' .. math.random(1, {books}) .. '/copies') end
  return wrk.format('GET', '/api/v1/auth/me', {{Authorization = 'Bearer ' .. tokens[n % #tokens + 1]}})
end
"""


@dataclass
class Found:
    """What was asked and seen; `leaks` is what must not be."""

    requests: int
    failed: int
    written: int
    seconds: float
    leaks: list[str]
    samples: list[Sample] = field(repr=False)
    calm: Held
    after: Held

    def figures(self) -> dict[str, Any]:
        grown = watching.growths(self.samples)
        return {
            "requests": self.requests, "written": self.written, "failed": self.failed, "seconds": round(self.seconds),
            "mib_an_hour": {str(each.pid): each.mib_an_hour for each in grown},
            "mib": {str(each.pid): f"{each.first_mib} → {each.last_mib}" for each in grown},
            "database_sessions": f"{self.calm.sessions} → {self.after.sessions}",
            "locks_kept": self.after.locks,
        }  # fmt: skip


async def read(settings: Settings, service: Service, *, requests: int, seed: int, folder: Path) -> Found:
    """Ask so often, while two desks work; look at every process meanwhile, and at all that is held before and after."""
    database = Database(settings)
    people = await world.found(database, settings, seed=seed + 1, books=BOOKS, readers=READERS)
    script = _script(folder, people.books, list(people.readers.values()))
    process = psutil.Process(service.process.pid)
    await _ask(service, script, WARM_UP_REQUESTS)
    began = time.monotonic()
    calm = await _at_rest(process, database, began)
    samples: list[Sample] = []
    pace = max(BETWEEN_LOOKS_SECONDS, requests / MOST_LOOKS / 1_000)
    watch = asyncio.create_task(_watch(process, began, samples, pace))
    async with httpx2.AsyncClient(base_url=service.address, timeout=TIMEOUT_SECONDS) as client:
        ledger = Ledger(client, seed=seed + 1)
        desks = [asyncio.create_task(_work(people, ledger, client)) for _ in range(DESKS)]
        asked, failed = await _ask(service, script, requests)
        for task in (watch, *desks):
            task.cancel()
        await asyncio.gather(watch, *desks, return_exceptions=True)
    seconds = time.monotonic() - began
    after = await _at_rest(process, database, began)
    await database.close()
    found = watching.leaks(samples, calm, after, pool=database.connections_limit)
    if failed:
        found.append(f"{failed} requests failed, and nothing was wrong")
    return Found(asked, failed, ledger.done.total(), seconds, found + ledger.breaches, samples, calm[1], after[1])


async def _at_rest(process: psutil.Process, database: Database, began: float) -> tuple[list[Sample], Held]:
    """What is held when nobody has asked for a while."""
    await asyncio.sleep(CALM_SECONDS)
    async with database.reading() as session:
        await session.execute(text("SELECT 1"))
    return watching.look(process, began), await watching.held(database)


async def _watch(process: psutil.Process, began: float, samples: list[Sample], pace_seconds: float) -> None:
    while True:
        samples += watching.look(process, began)
        await asyncio.sleep(pace_seconds)


async def _work(people: world.World, ledger: Ledger, client: httpx2.AsyncClient) -> None:
    while True:
        await visit(people, ledger, client)
        await asyncio.sleep(0.1)


def _script(folder: Path, books: list[int], tokens: list[str]) -> Path:
    """For wrk: most of it from what is kept, the rest worked out, each time another."""
    kept = ["/api/v1/books", "/api/v1/books?sort=title", "/", "/health"]
    kept += [f"/api/v1/books/{book}" for book in books[:40]]
    listed = {"kept": kept, "tokens": tokens}
    lua = {name: "{" + ",".join(map(json.dumps, values)) + "}" for name, values in listed.items()}
    file = folder / "reading.lua"
    file.write_text(SCRIPT.format(**lua, round=ROUND, share=KEPT, books=max(books)))
    return file


async def _ask(service: Service, script: Path, requests: int) -> tuple[int, int]:
    """Ask until so much was asked; returns how often, and how often it was not answered well."""
    asked = failed = 0
    seconds = 5.0
    while asked < requests:
        process = await asyncio.create_subprocess_exec(
            "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout=30s", "-s", str(script),
            service.address, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        told = out.decode()
        done = int(re.findall(r"(\d+) requests in", told)[0])
        asked += done
        failed += sum(map(int, re.findall(r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:) (\d+)", told)))
        seconds = min(60.0, max(1.0, (requests - asked) / max(done / seconds, 1)))
    return asked, failed
