"""The history of a soak, read from the events: each copy with one holder at a time, each queue served in order.

A model of its own that knows only the events: per copy who has it and whom it is promised to, per book who waits.
Events of one copy, and of one queue, are written under one lock, so their ids are the order in which they happened.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from app.audit.models import Event
from app.bookings.models import Booking
from app.core.db import Database

Place = tuple[int, Any, Any]
"""Where a booking stands in the queue: priority, when it was placed, its id."""


@dataclass(slots=True)
class History:
    places: dict[Any, Place]
    breaches: list[str] = field(default_factory=list)
    lent: dict[int, Any] = field(default_factory=dict)
    lost: set[Any] = field(default_factory=set)
    promised: dict[int, Any] = field(default_factory=dict)
    owed: dict[Any, int] = field(default_factory=dict)
    suspended: set[Any] = field(default_factory=set)
    waiting: dict[int, set[Any]] = field(default_factory=lambda: defaultdict(set))

    def take(self, event: Event) -> None:
        """Go on by one event, and note what can't have happened."""
        if event.kind.startswith(("loan_", "return_")):
            self._loan(event)
        elif event.kind.startswith("booking_"):
            self._booking(event)

    def _loan(self, event: Event) -> None:
        copy_id, loan_id = event.copy_id or 0, event.loan_id
        match event.kind:
            case "loan_opened" | "return_undone":
                self._check(copy_id not in self.lent, event, "the copy is with somebody")
                self.lent[copy_id] = loan_id
                if event.kind == "loan_opened" and copy_id in self.promised:
                    self.owed[self.promised[copy_id]] = event.id
            case "loan_returned" | "loan_undone" | "loan_lost":
                self._check(self.lent.pop(copy_id, None) == loan_id, event, "the copy was not out on this loan")
                if event.kind == "loan_lost":
                    self.lost.add(loan_id)
            case "loan_found":
                self._check(loan_id in self.lost, event, "it was not lost")
                self.lost.discard(loan_id)

    def _booking(self, event: Event) -> None:
        booking_id, queue = event.booking_id, self.waiting[event.book_id or 0]
        match event.kind:
            case "booking_placed" if event.data["status"] == "waiting":
                queue.add(booking_id)
            case "booking_placed" | "booking_allocated" | "booking_ready":
                self._serve(event, queue)
            case "booking_requeued":
                self._release(booking_id)
                queue.add(booking_id)
            case "booking_resumed":
                self.suspended.discard(booking_id)
                queue.add(booking_id)
            case "booking_reopened" if booking_id not in self.suspended:
                queue.add(booking_id)
            case "booking_suspended":
                self.suspended.add(booking_id)
                queue.discard(booking_id)
            case "booking_cancelled" | "booking_expired" | "booking_fulfilled":
                self._release(booking_id)
                self.owed.pop(booking_id, None)
                queue.discard(booking_id)

    def _serve(self, event: Event, queue: set[Any]) -> None:
        copy_id, booking_id = event.copy_id or 0, event.booking_id
        self._check(copy_id not in self.lent, event, "the promised copy is with somebody")
        self._check(self.promised.get(copy_id) in {None, booking_id}, event, "the copy is promised to another")
        if booking_id in queue:
            first = min(queue, key=self.places.__getitem__)
            self._check(booking_id == first, event, f"{first} was before it")
            queue.discard(booking_id)
        self._release(booking_id)
        self.promised[copy_id] = booking_id

    def _release(self, booking_id: Any) -> None:
        for copy_id in [copy_id for copy_id, holder in self.promised.items() if holder == booking_id]:
            del self.promised[copy_id]

    def _check(self, is_sound: bool, event: Event, why: str) -> None:  # noqa: FBT001  # reads like an assertion
        if not is_sound:
            about = event.booking_id or event.loan_id
            self.breaches.append(f"event {event.id} {event.kind} of copy {event.copy_id}, {about}: {why}")


async def breaches(database: Database) -> list[str]:
    """What in the events contradicts one holder a copy and one order a queue. For readers who may all take any copy."""
    async with database.reading() as session:
        rows = await session.execute(select(Booking.id, Booking.priority, Booking.placed_at))
        history = History({row.id: (row.priority, row.placed_at, row.id) for row in rows})
        async for event in await session.stream_scalars(select(Event).order_by(Event.id)):
            history.take(event)
    history.breaches += [f"event {event}: lent over booking {booking}" for booking, event in history.owed.items()]
    return history.breaches
