"""The ledger: numbers every intent, sends it until it is answered and some once more, and keeps what must follow.

An intent that got no answer (a killed worker, a database that is away) is sent again with the same Idempotency-Key.
Some are sent up to five times on purpose, one after the other or at once: whatever the number, a success has one
effect and one answer.
"""

import asyncio
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

TIMEOUT_SECONDS: Final = 30.0
GIVE_UP_AFTER: Final = 400
PAUSE_SECONDS: Final = 0.25
SENDS: Final = (1, 2, 3, 4, 5)
SENDS_WEIGHTS: Final = (76, 12, 6, 3, 3)
SERVER_FAULT: Final = 500
# Answers that say nothing about the intent: it is still to be settled.
UNDECIDED: Final = frozenset({429, 502, 503, 504})

EVENTS: Final = {
    "book": "booking_placed", "cancel": "booking_cancelled", "suspend": "booking_suspended",
    "resume": "booking_resumed", "lend": "loan_opened", "renew": "loan_renewed", "lose": "loan_lost",
    "claim": "loan_claimed_returned", "status": "copy_status_changed",
}  # fmt: skip
# Successes that may find all as it is wanted already; and those that do so the second time, by what tells them apart.
MAY_CHANGE_NOTHING: Final = frozenset({"suspend", "status"})
ONCE: Final = {"claim": "id", "undo": "scan_id"}

Effect = tuple[str, str]
"""The kind of an event and the id of what it is about."""

Essence = tuple[int, bytes, str | None]
"""What must be the same in every answer to an intent: status, digest of the body, Location."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that a client wants: one POST."""

    what: str
    path: str
    token: str
    body: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """What was sent, what was answered and which events must be found for it, exactly or at most."""

    def __init__(self, client: httpx2.AsyncClient, *, seed: int) -> None:
        self._client = client
        self._seed = seed
        self._random = random.Random(f"sends {seed}")  # noqa: S311  # a load, no secret
        self.numbers = 0
        self.sent = 0
        self.unanswered = 0
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.repeated: Counter[int] = Counter()
        self.answers: Counter[bytes] = Counter()
        self.exact: Counter[Effect] = Counter()
        self.at_most: Counter[Effect] = Counter()
        self.breaches: list[str] = []
        self.kept: list[tuple[Intent, str, Essence]] = []
        self._once: set[tuple[str, str]] = set()

    async def settle(self, intent: Intent) -> httpx2.Response:
        """Send an intent until it is decided, and as often again as chance says; gives the answer that counts."""
        self.numbers += 1
        key = f"{self._seed}-{self.numbers}"
        times = self._random.choices(SENDS, SENDS_WEIGHTS)[0]
        self.repeated[times] += 1
        if self._random.random() < 1 / 2:
            answers = list(await asyncio.gather(*(self.decided(intent, key) for _ in range(times))))
        else:
            answers = [await self.decided(intent, key) for _ in range(times)]
        successes = [answer for answer in answers if answer.is_success]
        if len({_essence(answer) for answer in successes}) > 1:
            self.breaches.append(f"{intent.what} {key}: {len(successes)} successes with different answers")
        if not successes:
            self.refused[f"{intent.what}: {answers[-1].json().get('code')}"] += 1
            return answers[-1]
        self.acknowledge(intent, key, successes[0])
        return successes[0]

    async def decided(self, intent: Intent, key: str) -> httpx2.Response:
        """The first answer that decides the intent, however often it has to be sent."""
        headers = {"Authorization": f"Bearer {intent.token}", "Idempotency-Key": key}
        for _ in range(GIVE_UP_AFTER):
            self.sent += 1
            try:
                answer = await self._client.post(intent.path, json=intent.body, headers=headers)
            except httpx2.TransportError:
                self.unanswered += 1
            else:
                if answer.status_code == SERVER_FAULT:
                    self.breaches.append(f"{intent.what} {key}: the server's fault: {answer.text}")
                elif answer.status_code not in UNDECIDED and "request_in_progress" not in answer.text:
                    return answer
                self.unanswered += 1
            await asyncio.sleep(self._random.uniform(0, 2 * PAUSE_SECONDS))
        raise TimeoutError(f"{intent.what} {key} was sent {GIVE_UP_AFTER} times without an answer")

    async def replay(self, count: int) -> int:
        """Send some settled intents once more; each must give the answer that it gave. Returns how many."""
        chosen = self._random.sample(self.kept, min(count, len(self.kept)))
        for intent, key, before in chosen:
            again = await self.decided(intent, key)
            if again.headers.get("idempotency-replayed") != "true":
                self.breaches.append(f"{intent.what} {key}: done again instead of replayed")
            if _essence(again) != before:
                self.breaches.append(f"{intent.what} {key}: replayed with another answer")
        return len(chosen)

    def acknowledge(self, intent: Intent, key: str, answer: httpx2.Response) -> None:
        """Take note of a success, whoever got it."""
        self.done[intent.what] += 1
        essence = _essence(answer)
        self.answers[essence[1]] += 1
        self.kept.append((intent, key, essence))
        said = answer.json()
        effect = _effect(intent.what, said)
        if effect is None:
            return
        if intent.what in ONCE:
            about = (intent.what, said[ONCE[intent.what]])
            if about in self._once:
                return
            self._once.add(about)
        (self.at_most if intent.what in MAY_CHANGE_NOTHING else self.exact)[effect] += 1


def _effect(what: str, said: dict[str, Any]) -> Effect | None:
    """The event that must be found for a success; None for a scan that only moved a copy."""
    if what == "return":
        return ("loan_returned" if said["scan_id"] else "loan_found", said["loan"]["id"]) if said["loan"] else None
    if what == "undo":
        return "undone", str(said["copy"]["id"])
    about = said["loan"] if what == "lose" else said
    return EVENTS[what], str(about["id"])


def _essence(answer: httpx2.Response) -> Essence:
    return answer.status_code, hashlib.sha256(answer.content).digest(), answer.headers.get("location")
