"""The verdict: whether what the database holds is what the clients were told, once each, and nothing is stuck."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from app.audit.models import Event
from app.bookings.models import OPEN, Booking
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.db import Database
from app.idempotency.models import IdempotencyKey
from app.loans.models import Loan, LoanStatus
from benchmarks.soaking.ledger import Effect, Intent, Ledger
from benchmarks.soaking.world import ROOT, World

MOST_SCANS: Final = 4
UNDONE: Final = frozenset({"loan_undone", "return_undone"})
# Nobody asks for these: they follow from something else.
CONSEQUENCES: Final = frozenset({
    "booking_allocated", "booking_ready", "booking_fulfilled", "booking_expired", "booking_requeued",
    "booking_reopened", "copy_arrived", "copy_found",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """What was acknowledged `acknowledged` times, and how often it is found."""

    effect: Effect
    acknowledged: int
    found: int

    @property
    def is_loss(self) -> bool:
        return self.found < self.acknowledged

    def __str__(self) -> str:
        return f"{' '.join(self.effect)}: acknowledged {self.acknowledged} times, found {self.found}"


async def effects(database: Database, ledger: Ledger) -> list[Difference]:
    """Acknowledged operations whose event is missing or there twice, and events that nobody was told of."""
    seen: Counter[Effect] = Counter()
    async with database.reading() as session:
        counted = select(Event.kind, Event.booking_id, Event.loan_id, Event.copy_id, func.count()).group_by(
            Event.kind, Event.booking_id, Event.loan_id, Event.copy_id
        )
        for kind, booking_id, loan_id, copy_id, count in await session.execute(counted):
            if kind in UNDONE:
                seen["undone", str(copy_id)] += count
            elif kind not in CONSEQUENCES:
                seen[kind, str(booking_id or loan_id or copy_id)] += count
    wanted = ledger.exact.keys() | (seen.keys() - ledger.at_most.keys())
    found = [Difference(effect, ledger.exact[effect], seen[effect]) for effect in wanted]
    found = [each for each in found if each.acknowledged != each.found]
    # One that may have changed nothing the second time is there once at least.
    return found + [
        Difference(effect, min(most, max(seen[effect], 1)), seen[effect])
        for effect, most in ledger.at_most.items()
        if not 1 <= seen[effect] <= most
    ]


async def answers(database: Database, ledger: Ledger) -> list[str]:
    """Keys whose kept answer is none that a client got, and answers that are not kept."""
    async with database.reading() as session:
        kept = Counter(
            hashlib.sha256(body or b"").digest() for body in await session.scalars(select(IdempotencyKey.body))
        )
    lost, unknown = (ledger.answers - kept).total(), (kept - ledger.answers).total()
    return (
        [f"{lost} acknowledged answers are not kept, {unknown} kept ones were given to nobody"]
        if lost + unknown
        else []
    )


async def drain(database: Database, world: World, ledger: Ledger) -> list[str]:
    """Cancel every booking, bring every copy home and repair it, by the desk's own means; then what is still stuck."""
    async with database.reading() as session:
        waiting = list(await session.scalars(select(Booking.id).where(Booking.status.in_(OPEN))))
    for booking_id in waiting:
        await ledger.settle(Intent("cancel", f"{ROOT}/bookings/{booking_id}/cancel", world.desk()))
    async with database.reading() as session:
        copies = list(await session.scalars(select(Copy).order_by(Copy.id)))
    for copy in copies:
        if copy.status == CopyStatus.IN_REPAIR:
            body = {"status": "available", "reason": "the end of a soak"}
            await ledger.settle(Intent("status", f"{ROOT}/copies/{copy.id}/status", world.desk(), body))
        await _bring_home(copy, world, ledger)
    async with database.reading() as session:
        stuck = await session.execute(
            select(Copy.id, Copy.status).where(
                (Copy.status != CopyStatus.AVAILABLE) | (Copy.at_branch_id != Copy.branch_id)
            )
        )
        found = [f"copy {row.id} is stuck: {row.status}" for row in stuck]
        still_open = select(func.count()).select_from(Booking).where(Booking.status.in_(OPEN))
        still_out = select(func.count()).select_from(Loan).where(Loan.status == LoanStatus.OPEN)
        left = (await session.scalar(still_open) or 0) + (await session.scalar(still_out) or 0)
    return found + ([f"{left} bookings or loans can't be closed"] if left else [])


async def _bring_home(copy: Copy, world: World, ledger: Ledger) -> None:
    """Scan it, and do what the answer says, until it stands on its shelf."""
    branch = copy.branch_id
    for _ in range(MOST_SCANS):
        scan = Intent("return", f"{ROOT}/returns", world.desk(), {"copy_barcode": copy.barcode, "branch": branch})
        said = (await ledger.settle(scan)).json()
        if said.get("action") != "transfer":
            return
        branch = said["to_branch"]
