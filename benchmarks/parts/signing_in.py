"""Sixteen people who sign in again and again, and what others feel of it (P12)."""

import asyncio
import json
import re
from contextlib import ExitStack, suppress
from typing import Final

from app.core.config import Settings
from app.core.db import Database
from app.core.security import hash_password
from app.users import service as users
from app.users.models import Role
from benchmarks.client import Client
from benchmarks.judging import Figure, at_most, percentile
from benchmarks.stage import Stage
from tests.conftest import PASSWORD
from tests.tokens import librarian

AT_ONCE: Final = 16
LAG: Final = re.compile(r'^event_loop_lag_seconds_bucket\{le="([^"]+)"\} ([\d.e+]+)$', re.MULTILINE)
OK: Final = 200


def measure(stage: Stage) -> list[Figure]:
    seconds, rounds = (3, 2) if stage.quick else (10, 3)
    settings = stage.catalogue
    asyncio.run(_accounts(settings))
    with ExitStack() as stack:
        server = stage.serve(stack, settings)
        return asyncio.run(_felt(server.address, seconds, rounds))


async def _felt(address: str, seconds: int, rounds: int) -> list[Figure]:
    looks: dict[bool, list[float]] = {False: [], True: []}
    lags: dict[str, float] = {}
    looker = await Client.connected(address)
    for are_signing_in in (False, True) * rounds:
        before = await _lags(looker)
        crowd = [asyncio.create_task(_sign_in(address, number)) for number in range(AT_ONCE if are_signing_in else 0)]
        looks[are_signing_in] += await _look(looker, seconds)
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        if are_signing_in:
            for bound, count in (await _lags(looker)).items():
                lags[bound] = lags.get(bound, 0) + count - before.get(bound, 0)
    looker.close()
    idle, busy = (percentile(looks[each], 0.99) * 1_000 for each in (False, True))
    lag = _quantile(lags, 0.99) * 1_000
    return [
        at_most("P12", f"loop's lag while {AT_ONCE} sign in, p99 ms (upper bound of its bucket)", lag, 5),
        at_most(
            "P12", f"cached list while {AT_ONCE} sign in, p99 over idle", busy / idle, 2, f"{idle:.1f} ms to {busy:.1f}"
        ),
    ]


async def _look(client: Client, seconds: float) -> list[float]:
    end = asyncio.get_running_loop().time() + seconds
    found = []
    while asyncio.get_running_loop().time() < end:
        found.append((await client.ask("GET", "/api/v1/books?limit=20")).seconds)
        await asyncio.sleep(0.002)
    return found


async def _sign_in(address: str, number: int) -> None:
    client = await Client.connected(address)
    sent = json.dumps({"email": f"p12-{number}@library.test", "password": PASSWORD}).encode()
    with suppress(asyncio.CancelledError):
        while True:
            answer = await client.ask(
                "POST", "/api/v1/auth/login", body=sent, headers={"Content-Type": "application/json"}
            )
            if answer.status != OK:
                raise RuntimeError(f"sign-in: {answer}")
    client.close()


async def _lags(client: Client) -> dict[str, float]:
    answer = await client.ask("GET", "/metrics")
    return {bound: float(count) for bound, count in LAG.findall(answer.body.decode())}


def _quantile(buckets: dict[str, float], share: float) -> float:
    """The bound of the bucket in which so large a share of what was counted lies."""
    whole = max(buckets.values())
    return min(float(bound) for bound, count in buckets.items() if count >= share * whole)


async def _accounts(settings: Settings) -> None:
    database = Database(settings)
    hashed = await hash_password(PASSWORD)
    somebody = await librarian(database)
    async with database.transaction() as session:
        for number in range(AT_ONCE):
            await users.create(
                session, email=f"p12-{number}@library.test", password_hash=hashed, full_name="A reader",
                role=Role.READER, now=somebody.created_at,
            )  # fmt: skip
    await database.close()
