"""The outbox: one cause is told once, with the transaction that made it true or not at all."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select

from app.core.db import Database
from app.notifications import service as notifications
from app.notifications.models import Kind, Notice, State
from app.users.models import User
from tests.integration.notifications.outbox import NOW, PAYLOAD, add_notices, add_reader, only_notice, states

pytestmark = pytest.mark.anyio


async def enqueue(database: Database, reader_id: UUID, cause: str = "booking_ready:1") -> bool:
    async with database.transaction() as session:
        return await notifications.enqueue(
            session, kind=Kind.BOOKING_READY, cause=cause, reader_id=reader_id, payload=PAYLOAD, now=NOW
        )


async def test_a_cause_is_told_once(database: Database) -> None:
    reader_id = await add_reader(database)
    assert [await enqueue(database, reader_id) for _ in range(3)] == [True, False, False]
    notice = await only_notice(database)
    assert notice.payload == {"title": "Dune", "branch": "Main library", "pickup_until_on": "2026-12-04"}


async def test_of_ten_transactions_with_one_cause_one_tells_it(database: Database) -> None:
    reader_id = await add_reader(database)
    told = await asyncio.gather(*(enqueue(database, reader_id) for _ in range(10)))
    assert sorted(told) == [False] * 9 + [True]


async def test_what_rolls_back_is_never_told_and_its_cause_stays_free(database: Database) -> None:
    reader_id = await add_reader(database)

    async def tell_and_fail() -> None:
        async with database.transaction() as session:
            await notifications.enqueue(
                session, kind=Kind.RECALL, cause="recall:1", reader_id=reader_id,
                payload={"title": "Dune", "due_on": NOW.date()}, now=NOW,
            )  # fmt: skip
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await tell_and_fail()
    assert await states(database) == {}
    assert await enqueue(database, reader_id, "recall:1")


async def test_a_notice_without_its_facts_is_refused_at_once(database: Database) -> None:
    reader_id = await add_reader(database)
    with pytest.raises(notifications.MissingFacts, match="branch, pickup_until_on"):
        async with database.transaction() as session:
            await notifications.enqueue(
                session, kind=Kind.BOOKING_READY, cause="x", reader_id=reader_id, payload={"title": "Dune"}, now=NOW
            )
    assert await states(database) == {}


async def test_withdrawing_takes_back_what_was_not_tried_and_frees_its_causes(database: Database) -> None:
    reader_id = await add_reader(database)
    assert await enqueue(database, reader_id, "overdue:7:1")
    async with database.transaction() as session:
        assert await notifications.take(session, now=NOW), "it may be on its way already"
    for cause in ("overdue:7:2", "overdue:70:1", "overdue:8:1"):
        assert await enqueue(database, reader_id, cause)
    async with database.transaction() as session:
        await notifications.withdraw(session, cause_prefix="overdue:7:")
        left = set(await session.scalars(select(Notice.cause)))
    assert left == {"overdue:7:1", "overdue:70:1", "overdue:8:1"}
    assert await enqueue(database, reader_id, "overdue:7:2")


@pytest.mark.parametrize(
    ("state", "is_told_again"), [(State.DROPPED, True), (State.SENT, False), (State.FAILED, False)]
)
async def test_only_what_was_dropped_may_come_up_again(database: Database, state: State, is_told_again: bool) -> None:  # noqa: FBT001  # a parameter of the test
    reader_id = await add_reader(database)
    await enqueue(database, reader_id)
    first = await only_notice(database)
    async with database.transaction() as session:
        await notifications.settle(session, notice_id=first.id, state=state, now=NOW)
    settled = await only_notice(database)
    assert (settled.state, settled.payload) == (state, {}), "its facts are no longer needed"
    assert await enqueue(database, reader_id) is is_told_again
    again = await only_notice(database)
    assert (again.state == State.PENDING, again.id != first.id) == (is_told_again, is_told_again)


async def test_forgetting_leaves_no_trace_of_a_loan(database: Database) -> None:
    reader_id = await add_reader(database)
    await add_notices(database, reader_id, 12)
    async with database.transaction() as session:
        await notifications.forget(session, cause_prefix="booking_ready:1")
        left = set(await session.scalars(select(Notice.cause)))
    assert left == {f"booking_ready:{n}" for n in (0, *range(2, 10))}


async def test_erasing_a_reader_erases_his_notices(database: Database) -> None:
    reader_id = await add_reader(database)
    await add_notices(database, reader_id, 2)
    async with database.transaction() as session:
        await session.execute(delete(User).where(User.id == reader_id))
        assert await session.scalar(select(func.count()).select_from(Notice)) == 0


async def test_the_pauses_between_attempts_grow_and_end_after_five_days(database: Database) -> None:
    reader_id = await add_reader(database)
    await enqueue(database, reader_id)
    instant, pauses = NOW, []
    for _ in range(notifications.MAX_ATTEMPTS):
        async with database.transaction() as session:
            notice = await notifications.take(session, now=instant)
            assert notice is not None
            assert await notifications.take(session, now=notice.next_attempt_at - timedelta(seconds=1)) is None
        pauses.append(notice.next_attempt_at - instant)
        instant = notice.next_attempt_at
    assert timedelta(minutes=1) <= pauses[0] <= timedelta(minutes=1.2)
    assert timedelta(hours=8) <= min(pauses[4:])
    assert timedelta(days=5) <= sum(pauses[:-1], timedelta()) <= timedelta(days=6.5)
