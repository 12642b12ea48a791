"""Readers' accounts over HTTP: what they owe, and the desk's payments, waivers and refunds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import actor_of
from app.api.deps import CurrentSettings, MoneyTaker, MoneyWaiver, Now, Reading, SignedIn, Writing
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.api.responses import next_link
from app.audit import service as audit
from app.audit.service import Change
from app.auth import service as auth
from app.auth.service import Identity
from app.charges import service as charges
from app.charges.models import Entry
from app.charges.schemas import EntryRead, Settlement, SettlementRead, Statement
from app.core.errors import AppError, Forbidden, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.schemas import Money
from app.users import queries as user_queries
from app.users import service as users
from app.users.models import Role, User

router = APIRouter(tags=["charges"], route_class=IdempotentRoute)


class OwnAccount(Forbidden):
    code, detail = "own_account", "Money on your own account is a colleague's to handle."


_STAFF: tuple[type[AppError], ...] = (Unauthorized, Forbidden, users.UserNotFound)
_MONEY: tuple[type[AppError], ...] = (*_STAFF, OwnAccount)
_OVER: tuple[type[AppError], ...] = (charges.UnknownCharge, charges.ExceedsBalance, charges.ExceedsCharge)

CursorText = Annotated[str | None, Query(max_length=1_024)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


@router.get("/auth/me/charges", responses=problems(Unauthorized, InvalidCursor, StaleCursor))
async def list_my_charges(
    request: Request,
    session: Reading,
    who: SignedIn,
    settings: CurrentSettings,
    response: Response,
    cursor: CursorText = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Statement:
    """What I owe, and how it came about, the newest first."""
    found = await statement_of(session, who.pseudonym, settings.currency, cursor, limit)
    response.headers.update(next_link(request, found.next))
    return found


@router.get("/users/{user_id}/charges", responses=problems(*_STAFF, InvalidCursor, StaleCursor))
async def list_charges(
    request: Request,
    user_id: UUID,
    session: Writing,
    who: MoneyTaker,
    settings: CurrentSettings,
    response: Response,
    now: Now,
    cursor: CursorText = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Statement:
    """What a reader owes, and how it came about, the newest first; he can see who looked."""
    user = await user_queries.find(session, user_id)
    if user is None:
        raise users.UserNotFound
    if user.id != who.user_id:
        audit.note_view(session, actor=actor_of(who), subject=user.pseudonym, what="charges", now=now)
    found = await statement_of(session, user.pseudonym, settings.currency, cursor, limit)
    response.headers.update(next_link(request, found.next))
    return found


@router.post("/users/{user_id}/payments", status_code=status.HTTP_201_CREATED, responses=problems(*_MONEY, *_OVER))
async def take_payment(
    user_id: UUID, data: Settlement, session: Writing, who: MoneyTaker, settings: CurrentSettings, now: Now
) -> SettlementRead:
    """Take a reader's money: for one charge, or for the oldest ones that it covers."""
    user = await _held(session, user_id, who)
    paid = await charges.pay(
        session,
        subject=user.pseudonym,
        amount_minor=data.amount_minor,
        settles=data.charge_id,
        now=now,
        actor=who.pseudonym,
        note=data.note,
    )
    await _record(session, "charge_paid", user, data, who=who, now=now, currency=settings.currency)
    return await _settled(session, paid, user, settings.currency)


@router.post(
    "/users/{user_id}/waivers",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*_MONEY, auth.NotYourBranch, *_OVER),
)
async def waive_charges(
    user_id: UUID, data: Settlement, session: Writing, who: MoneyWaiver, settings: CurrentSettings, now: Now
) -> SettlementRead:
    """Forgive what a reader owes to one's own branches: one charge, or the oldest ones that the amount covers."""
    user = await _held(session, user_id, who)
    waived = await charges.waive(
        session,
        subject=user.pseudonym,
        amount_minor=data.amount_minor,
        settles=data.charge_id,
        now=now,
        actor=who.pseudonym,
        note=data.note,
    )
    await _check_branches(session, who, waived)
    await _record(session, "charge_waived", user, data, who=who, now=now, currency=settings.currency)
    return await _settled(session, waived, user, settings.currency)


@router.post(
    "/users/{user_id}/refunds",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*_MONEY, charges.UnknownCharge, charges.ExceedsCredit),
)
async def pay_refund(
    user_id: UUID, data: Settlement, session: Writing, who: MoneyTaker, settings: CurrentSettings, now: Now
) -> SettlementRead:
    """Pay a reader's credit out to him: for one charge that he paid and that was reversed, or for the oldest such."""
    user = await _held(session, user_id, who)
    refunded = await charges.refund(
        session,
        subject=user.pseudonym,
        amount_minor=data.amount_minor,
        settles=data.charge_id,
        now=now,
        actor=who.pseudonym,
        note=data.note,
    )
    await _record(session, "charge_refunded", user, data, who=who, now=now, currency=settings.currency)
    return await _settled(session, refunded, user, settings.currency)


async def _held(session: AsyncSession, user_id: UUID, who: Identity) -> User:
    """The reader, locked: the money operations of one reader follow each other.

    Raises:
        OwnAccount, UserNotFound.
    """
    if user_id == who.user_id and who.role is not Role.ADMIN:
        raise OwnAccount
    user = await user_queries.locked(session, user_id)
    if user is None:
        raise users.UserNotFound
    return user


async def _check_branches(session: AsyncSession, who: Identity, waived: Sequence[Entry]) -> None:
    """A librarian forgives only what is owed to his branches, and what is owed to none if he works in any.

    Raises:
        NotYourBranch, Forbidden.
    """
    if who.role is Role.ADMIN:
        return
    if not await user_queries.staff_branches(session, who.user_id):
        raise Forbidden
    for branch_id in {entry.branch_id for entry in waived if entry.branch_id is not None}:
        await auth.check_branch(session, identity=who, branch_id=branch_id)


async def _record(
    session: AsyncSession, kind: str, user: User, data: Settlement, *, who: Identity, now: datetime, currency: str
) -> None:
    await audit.record(
        session,
        Change(kind),
        actor=actor_of(who),
        now=now,
        reason=data.note,
        subject=user.pseudonym,
        data={"amount_minor": data.amount_minor, "currency": currency},
    )


async def statement_of(
    session: AsyncSession, subject: UUID, currency: str, cursor: str | None, limit: int
) -> Statement:
    owed = await charges.balance(session, subject=subject)
    found, following = await charges.statement(session, subject=subject, cursor=cursor, limit=limit)
    return Statement(
        balance=Money(amount_minor=owed, currency=currency),
        items=[charges.read(entry, open_minor=open_minor, currency=currency) for entry, open_minor in found],
        next=following,
    )


async def _settled(session: AsyncSession, entries: Sequence[Entry], user: User, currency: str) -> SettlementRead:
    owed = await charges.balance(session, subject=user.pseudonym)
    items: list[EntryRead] = [charges.read(entry, open_minor=None, currency=currency) for entry in entries]
    return SettlementRead(balance=Money(amount_minor=owed, currency=currency), items=items)
