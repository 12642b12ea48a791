"""Policies over HTTP."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import Circulation, actor_of
from app.api.deps import CurrentSettings, Now, PolicyEditor, Reading, RequiredIfMatch, RowId, SignedIn, Writing
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.api.responses import next_link
from app.audit import service as audit
from app.auth import service as auth
from app.auth.service import Identity
from app.bookings import service as bookings
from app.bookings.context import Context
from app.branches import service as branches
from app.copies import queries as copy_queries
from app.copies import service as copies
from app.core.errors import AppError, Forbidden, PreconditionRequired, Unauthorized
from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, InvalidCursor, StaleCursor
from app.core.versioning import VersionChanged, etag
from app.policies import service as policies
from app.policies.schemas import Explanation, PolicyCreate, PolicyPage, PolicyRead, PolicyUpdate, Question
from app.users import queries as user_queries
from app.users import service as users
from app.users.models import Role

router = APIRouter(prefix="/policies", tags=["policies"], route_class=IdempotentRoute)

_STAFF: tuple[type[AppError], ...] = (Unauthorized, Forbidden, auth.NotYourBranch)
_CHANGE: tuple[type[AppError], ...] = (*_STAFF, policies.PolicyNotFound, PreconditionRequired, VersionChanged)


@router.get("", responses=problems(InvalidCursor, StaleCursor))
async def list_policies(
    request: Request,
    session: Reading,
    settings: CurrentSettings,
    response: Response,
    cursor: Annotated[str | None, Query(max_length=1_024)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> PolicyPage:
    """The terms of borrowing, for everybody to read."""
    found, following = await policies.page(session, cursor=cursor, limit=limit)
    response.headers.update(next_link(request, following))
    return PolicyPage(items=[policies.read(policy, currency=settings.currency) for policy in found], next=following)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*_STAFF, policies.PolicyExists, policies.TooManyPolicies, branches.UnknownBranch),
)
async def create_policy(
    data: PolicyCreate,
    session: Writing,
    who: PolicyEditor,
    settings: CurrentSettings,
    context: Circulation,
    response: Response,
) -> PolicyRead:
    """Add terms; those of all branches are an administrator's to add."""
    await _check_branch(session, who, data.branch)
    if data.branch:
        await branches.check_open(session, data.branch)
    policy = await policies.add(session, data=data, now=context.now)
    await _hand_out(session, context)
    response.headers["Location"] = f"{settings.api_v1_str}/policies/{policy.id}"
    response.headers["ETag"] = etag(policy.version)
    return policies.read(policy, currency=settings.currency)


@router.post(
    "/explain",
    responses=problems(Unauthorized, Forbidden, users.UserNotFound, copies.CopyNotFound, branches.UnknownBranch),
)
async def explain_policies(
    data: Question, session: Writing, who: SignedIn, settings: CurrentSettings, now: Now
) -> Explanation:
    """Say which policy decides a case and why; staff may name a reader's card and a copy's barcode instead."""
    if (data.card_number is not None or data.copy_barcode is not None) and not who.is_staff:
        raise Forbidden
    category = data.category or await _category_of(session, who, data.card_number or "", now)
    if data.branch is not None:
        await branches.check_open(session, data.branch)
    item_type, branch = (
        await _kind_of(session, data.copy_barcode) if data.copy_barcode else (data.item_type or "", data.branch or "")
    )
    return policies.explain(
        await policies.rulebook(session),
        category=category,
        item_type=item_type,
        branch=branch,
        currency=settings.currency,
    )


@router.get("/{policy_id}", responses=problems(policies.PolicyNotFound))
async def get_policy(policy_id: RowId, session: Reading, settings: CurrentSettings, response: Response) -> PolicyRead:
    """One row of terms; its ETag is its version."""
    policy = await policies.get(session, policy_id)
    response.headers["ETag"] = etag(policy.version)
    return policies.read(policy, currency=settings.currency)


@router.patch("/{policy_id}", responses=problems(*_CHANGE, policies.PolicyExists, branches.UnknownBranch))
async def update_policy(
    policy_id: RowId,
    data: PolicyUpdate,
    session: Writing,
    who: PolicyEditor,
    if_match: RequiredIfMatch,
    settings: CurrentSettings,
    context: Circulation,
    response: Response,
) -> PolicyRead:
    """Change terms; loans keep those under which they were made."""
    changes = data.model_dump(exclude_unset=True)
    await _check_branch(session, who, (await policies.get(session, policy_id)).branch_id)
    if "branch" in changes:
        await _check_branch(session, who, changes["branch"])
        if changes["branch"]:
            await branches.check_open(session, changes["branch"])
    policy = await policies.change(
        session, policy_id=policy_id, changes=changes, if_match=if_match, currency=settings.currency
    )
    await _hand_out(session, context)
    response.headers["ETag"] = etag(policy.version)
    return policies.read(policy, currency=settings.currency)


@router.delete("/{policy_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(*_CHANGE))
async def delete_policy(
    policy_id: RowId,
    session: Writing,
    who: PolicyEditor,
    if_match: RequiredIfMatch,
    settings: CurrentSettings,
    context: Circulation,
) -> None:
    """Remove terms; more general ones decide from now on."""
    await _check_branch(session, who, (await policies.get(session, policy_id)).branch_id)
    await policies.remove(session, policy_id=policy_id, if_match=if_match, currency=settings.currency)
    await _hand_out(session, context)


async def _hand_out(session: AsyncSession, context: Context) -> None:
    """Under the new rules somebody who waits may be allowed a copy that is free."""
    rules = await policies.rulebook(session)
    await bookings.settle_all(session, context=replace(context, rules=rules))


async def _category_of(session: AsyncSession, who: Identity, card_number: str, now: datetime) -> str:
    reader = await user_queries.by_card(session, card_number)
    if reader is None:
        raise users.UserNotFound
    audit.note_view(session, actor=actor_of(who), subject=reader.pseudonym, what="terms", now=now)
    return reader.category


async def _kind_of(session: AsyncSession, barcode: str) -> tuple[str, str]:
    """The item type and home branch of a copy."""
    copy = await copy_queries.find_by_barcode(session, barcode)
    if copy is None:
        raise copies.CopyNotFound
    return copy.item_type, copy.branch_id


async def _check_branch(session: AsyncSession, who: Identity, branch_id: str | None) -> None:
    """A librarian keeps the terms of his own branches; those of all branches are an administrator's."""
    if branch_id is None:
        if who.role is not Role.ADMIN:
            raise Forbidden
        return
    await auth.check_branch(session, identity=who, branch_id=branch_id)
