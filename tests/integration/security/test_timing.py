"""Time tells nothing: known and unknown accounts take as long."""

import asyncio
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from app.core.config import Settings
from tests import evidence, statements
from tests.conftest import Person

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"
TRIES = 10_000 if os.environ.get("FULL") else 500
# Source: the usual bound of leakage assessment (TVLA): beyond it the two are told apart with near certainty.
WELCH_BOUND = 4.5
ROUNDS = 3
BODIES: dict[str, dict[str, str]] = {"login": {"password": "not the password"}, "forgot": {}}

Ask = Callable[[str], Awaitable[httpx2.Response]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limit_enabled": False})


def welch(left: list[float], right: list[float]) -> float:
    """Welch's t of two samples; the slowest tenth of each is noise of the machine and is left out."""
    left, right = (sorted(sample)[: len(sample) * 9 // 10] for sample in (left, right))
    spread = statistics.variance(left) / len(left) + statistics.variance(right) / len(right)
    return float((statistics.mean(left) - statistics.mean(right)) / spread**0.5)


async def _are_told_apart(ask: Ask, known: str, *, what: str, at_once: int, backend: str) -> bool:
    """Whether round after round the same one of the two takes longer; what else the machine does favours neither."""
    await _compare(ask, known, 20, at_once)
    first = await _compare(ask, known, TRIES, at_once)
    evidence.keep(
        "S6", "known and unknown accounts", **{f"{what} on {backend}, Welch t": round(first, 2), "tries": TRIES}
    )
    for _ in range(ROUNDS - 1):
        if abs(first) < WELCH_BOUND:
            return False
        again = await _compare(ask, known, TRIES, at_once)
        first = again if again * first > 0 else 0.0
    return abs(first) >= WELCH_BOUND


async def _compare(ask: Ask, known: str, tries: int, at_once: int) -> float:
    """Ask for the known and an unknown address in a random order, so many at once; how far apart their times are."""
    times: dict[str, list[float]] = {known: [], "nobody@library.test": []}
    answers = set()
    order = list(times) * (tries // 2)
    random.Random(tries).shuffle(order)

    async def go_through_them() -> None:
        while order:
            email = order.pop()
            started = time.perf_counter()
            answer = await ask(email)
            times[email].append(time.perf_counter() - started)
            body = answer.json()
            answers.add((answer.status_code, body.get("code"), body.get("detail"), tuple(sorted(answer.headers))))

    await asyncio.gather(*(go_through_them() for _ in range(at_once)))
    assert len(answers) == 1, answers
    first, second = times.values()
    return welch(first, second)


async def test_signing_in_takes_as_long_without_an_account(
    client: httpx2.AsyncClient, reader: Person, backend: str
) -> None:
    async def ask(email: str) -> httpx2.Response:
        return await client.post(f"{AUTH}/login", json={"email": email, "password": "not the password"})

    assert not await _are_told_apart(ask, reader.email, what="login", at_once=2, backend=backend)


@pytest.mark.parametrize("address", ["login", "forgot"])
async def test_the_database_is_asked_the_same_without_an_account(
    client: httpx2.AsyncClient, reader: Person, address: str
) -> None:
    questions = []
    for email in (reader.email, "nobody@library.test"):
        with statements.asked() as asked:
            await client.post(f"{AUTH}/{address}", json=BODIES[address] | {"email": email})
        questions.append(list(asked))
    assert questions[0] == questions[1] != []


async def test_forgetting_takes_as_long_without_an_account(
    client: httpx2.AsyncClient, reader: Person, backend: str
) -> None:
    async def ask(email: str) -> httpx2.Response:
        return await client.post(f"{AUTH}/forgot", json={"email": email})

    assert not await _are_told_apart(ask, reader.email, what="forgot", at_once=8, backend=backend)
