"""The ledger: whatever happens to an account, its money adds up, on both databases."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.charges import queries
from app.charges import service as charges
from app.charges.models import Entry, Kind, Reason
from app.core.db import Database
from app.core.errors import AppError
from app.core.pagination import StaleCursor
from app.users import queries as user_queries
from tests.conftest import Person
from tests.integration.charges.model import Account, Refused

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
DESK = uuid4()

amounts = st.integers(1, 40)
# Which charge a step is about: one of the account's, or none in particular.
targets = st.none() | st.integers(0, 9)
steps = st.one_of(
    st.tuples(st.just("charge"), amounts, st.none()),
    st.tuples(st.sampled_from(("pay", "waive", "refund")), amounts, targets),
    st.tuples(st.just("reverse"), st.none() | amounts, st.integers(0, 9)),
)


async def charge(session: AsyncSession, subject: UUID, amount_minor: int = 500, **given_: Any) -> Entry:
    wanted: dict[str, Any] = {"reason": Reason.FEE, "loan_id": None, **given_}
    return await charges.charge(session, subject=subject, amount_minor=amount_minor, now=NOW, actor=DESK, **wanted)


async def take(session: AsyncSession, subject: UUID, step: tuple[str, int | None, int | None], ids: list[UUID]) -> None:
    """One step on the real ledger."""
    verb, amount, index = step
    if verb == "charge":
        assert amount is not None
        ids.append((await charge(session, subject, amount)).id)
        return
    target = None if index is None else ids[index % len(ids)] if ids else uuid4()
    if verb == "reverse":
        assert target is not None
        await charges.reverse(session, entry_id=target, amount_minor=amount, now=NOW, actor=DESK)
        return
    settle = {"pay": charges.pay, "waive": charges.waive, "refund": charges.refund}[verb]
    assert amount is not None
    await settle(session, subject=subject, amount_minor=amount, settles=target, now=NOW, actor=DESK)


@given(st.lists(steps, max_size=25))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_money_adds_up_whatever_happens(
    database: Database, sequence: list[tuple[str, int | None, int | None]]
) -> None:
    subject, ids, model = uuid4(), list[UUID](), Account()
    async with database.transaction() as session:
        await charge(session, uuid4())  # somebody else's account is nobody's business here
        for step in sequence:
            expected, refusal = model.foresee(step), None
            try:
                await take(session, subject, step, ids)
            except AppError as error:
                refusal = error.code
            assert refusal == (expected.code if isinstance(expected, Refused) else None), (step, model)
            model = model if isinstance(expected, Refused) else expected
            assert await charges.balance(session, subject=subject) == model.balance
        await assert_agrees(session, subject, ids, model)


async def assert_agrees(session: AsyncSession, subject: UUID, ids: list[UUID], model: Account) -> None:
    rows = list(await session.scalars(select(Entry).where(Entry.subject == subject).order_by(Entry.number)))
    running = 0
    for number, row in enumerate(rows, 1):
        running += row.amount_minor * (1 if row.kind in {Kind.CHARGE, Kind.REFUND} else -1)
        assert (row.number, row.balance_minor) == (number, running)
    assert running == model.balance
    standings = await queries.standings(session, ids)
    assert [standings[id_].open_minor for id_ in ids] == [known.open for known in model.charges]
    for id_ in ids:
        taken = {kind: sum(r.amount_minor for r in rows if r.settles_id == id_ and r.kind == kind) for kind in Kind}
        amount = standings[id_].charge.amount_minor
        kept = taken[Kind.PAYMENT] - taken[Kind.REFUND]
        assert 0 <= kept <= amount, "paid beyond the charge, or more paid out than was paid"
        assert taken[Kind.WAIVER] + taken[Kind.REVERSAL] <= amount
        assert standings[id_].open_minor >= -kept, "a credit that nobody paid"


async def test_a_payment_settles_the_oldest_charges_one_entry_each(database: Database) -> None:
    subject = uuid4()
    async with database.transaction() as session:
        old = await charge(session, subject, 300, reason="overdue")
        young = await charge(session, subject, 500, reason="lost", branch="main")
        paid = await charges.pay(session, subject=subject, amount_minor=450, now=NOW, actor=DESK, note="cash")
    assert [(row.settles_id, row.amount_minor, row.balance_minor) for row in paid] == [
        (old.id, 300, 500),
        (young.id, 150, 350),
    ]
    assert [(row.reason, row.branch_id, row.actor, row.note) for row in paid] == [
        ("overdue", None, DESK, "cash"),
        ("lost", "main", DESK, "cash"),
    ]


async def test_a_found_copy_that_was_paid_leaves_a_credit_to_pay_out(database: Database) -> None:
    subject, loan = uuid4(), uuid4()
    async with database.transaction() as session:
        lost = await charge(session, subject, 2_000, reason="lost", loan_id=loan)
        await charge(session, subject, 100, reason="lost_fee", loan_id=loan)
        await charges.pay(session, subject=subject, amount_minor=2_100, now=NOW, actor=DESK)
        assert [row.reason for row in await charges.of_loan(session, loan_id=loan)] == ["lost", "lost_fee"]
        back = await charges.reverse(session, entry_id=lost.id, now=NOW, actor=DESK)
        assert back is not None
        assert (back.kind, back.amount_minor, back.balance_minor) == ("reversal", 2_000, -2_000)
        assert await charges.reverse(session, entry_id=lost.id, now=NOW, actor=DESK) is None, "once is enough"
        await charge(session, subject, 300, reason="overdue", loan_id=loan)
        with pytest.raises(charges.ExceedsCredit):
            await charges.refund(session, subject=subject, amount_minor=1_701, now=NOW, actor=DESK)
        (refund,) = await charges.refund(session, subject=subject, amount_minor=1_700, now=NOW, actor=DESK)
    assert (refund.settles_id, refund.balance_minor) == (lost.id, 0)


async def test_what_was_waived_never_becomes_a_credit(database: Database) -> None:
    subject = uuid4()
    async with database.transaction() as session:
        lost = await charge(session, subject, 2_000, reason="lost")
        await charges.waive(session, subject=subject, amount_minor=1_500, settles=lost.id, now=NOW, actor=DESK)
        await charges.pay(session, subject=subject, amount_minor=500, now=NOW, actor=DESK)
        with pytest.raises(charges.ExceedsCharge):
            await charges.reverse(session, entry_id=lost.id, amount_minor=501, now=NOW, actor=DESK)
        back = await charges.reverse(session, entry_id=lost.id, now=NOW, actor=DESK)
    assert back is not None
    assert (back.amount_minor, back.balance_minor) == (500, -500)


async def test_a_charge_of_another_account_or_no_charge_is_unknown(database: Database) -> None:
    mine, other = uuid4(), uuid4()
    async with database.transaction() as session:
        await charge(session, mine)
        foreign = await charge(session, other)
        (payment,) = await charges.pay(session, subject=other, amount_minor=1, now=NOW, actor=DESK)
        for wrong in (foreign.id, payment.id, uuid4()):
            for settle in (charges.pay, charges.waive):
                with pytest.raises(charges.UnknownCharge):
                    await settle(session, subject=mine, amount_minor=1, settles=wrong, now=NOW, actor=DESK)
        for wrong in (payment.id, uuid4()):
            with pytest.raises(charges.UnknownCharge):
                await charges.reverse(session, entry_id=wrong, now=NOW, actor=DESK)


async def test_a_statement_comes_in_pages_newest_first_with_what_is_open(database: Database) -> None:
    subject = uuid4()
    async with database.transaction() as session:
        for amount in (100, 200, 300):
            await charge(session, subject, amount)
            await charge(session, uuid4(), amount)
        await charges.pay(session, subject=subject, amount_minor=150, now=NOW, actor=DESK)
        seen, cursor = [], None
        while True:
            rows, cursor = await charges.statement(session, subject=subject, cursor=cursor, limit=2)
            seen += [(row.kind, row.amount_minor, open_minor) for row, open_minor in rows]
            if cursor is None:
                break
            with pytest.raises(StaleCursor):
                await charges.statement(session, subject=uuid4(), cursor=cursor, limit=2)
    assert seen == [
        ("payment", 50, None), ("payment", 100, None), ("charge", 300, 300), ("charge", 200, 150), ("charge", 100, 0)
    ]  # fmt: skip


async def test_two_payments_at_once_pay_once(database: Database, reader: Person) -> None:
    async with database.transaction() as session:
        user = await user_queries.by_email(session, reader.email)
        assert user is not None
        await charge(session, user.pseudonym, 500)

    async def pay() -> str:
        try:
            async with database.transaction() as session:
                assert await user_queries.locked(session, user.id)
                await charges.pay(session, subject=user.pseudonym, amount_minor=500, now=NOW, actor=DESK)
        except charges.ExceedsBalance as error:
            return error.code
        return "paid"

    assert sorted(await asyncio.gather(*(pay() for _ in range(6)))) == ["exceeds_balance"] * 5 + ["paid"]
    async with database.reading() as session:
        assert await charges.balance(session, subject=user.pseudonym) == 0


@pytest.mark.parametrize("verb", ["pay", "waive", "refund", "reverse"])
async def test_of_two_writers_who_forgot_the_lock_one_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """A forced interleaving: the second has read where the account ends before the first commits."""
    subject, ids = uuid4(), list[UUID]()
    async with database.transaction() as session:
        await take(session, subject, ("charge", 500, None), ids)
        if verb == "refund":
            await take(session, subject, ("pay", 500, None), ids)
            await take(session, subject, ("reverse", None, 0), ids)
        before = (await queries.end_of(session, subject)).number
    both_have_read, end_of = asyncio.Barrier(2), queries.end_of

    async def read_together(session: AsyncSession, subject: UUID) -> queries.End:
        found = await end_of(session, subject)
        if not database.is_sqlite:  # there one writer runs at a time, and the second can't have read yet
            await both_have_read.wait()
        return found

    async def write() -> str:
        try:
            async with database.transaction() as session:
                await take(session, subject, (verb, 500, 0), ids)
        except (IntegrityError, AppError):
            return "refused"
        return "written"

    monkeypatch.setattr(queries, "end_of", read_together)
    assert sorted(await asyncio.gather(write(), write())) == ["refused", "written"]
    async with database.reading() as session:
        assert (await end_of(session, subject)).number == before + 1


async def test_a_reason_that_is_none_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="spite"):
        async with database.transaction() as session:
            await charge(session, uuid4(), reason="spite")
