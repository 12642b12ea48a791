"""Policies: keeping the terms, and the rulebook that they make together."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.direct import Direct
from app.core.errors import Conflict, NotFound
from app.core.pagination import Cursor, decode_cursor, question_of
from app.core.schemas import JsonObject, Money
from app.core.versioning import IfMatch, compare
from app.policies.models import Policy
from app.policies.rules import TERMS, Candidate, Rulebook, Terms
from app.policies.schemas import CandidateRead, Explanation, PolicyCreate, PolicyRead, TermsRead

MAX_POLICIES: Final = 2_000
"""All are read for each request that lends or books."""
MAX_EXPLAINED: Final = 100

_QUESTION = question_of("policies")
_ALL: Final = Direct(
    select(Policy.category, Policy.item_type, Policy.branch_id, Policy.id, *(getattr(Policy, name) for name in TERMS))
)


class PolicyNotFound(NotFound):
    code, detail = "policy_not_found", "There is no such policy."


class PolicyExists(Conflict):
    code, detail = (
        "policy_exists",
        "There is a policy for this category, item type and branch already; change that one.",
    )


class TooManyPolicies(Conflict):
    code, detail = "too_many_policies", "There are {limit} policies already; make some of them more general first."


async def rulebook(session: AsyncSession) -> Rulebook:
    """All policies as they stand, in one statement."""
    return Rulebook({(row[0], row[1], row[2]): Terms(*row[3:]) for row in await _ALL.all(session)})


async def add(session: AsyncSession, *, data: PolicyCreate, now: datetime) -> Policy:
    """Add terms for a case that has none yet.

    Raises:
        PolicyExists, TooManyPolicies.
    """
    if (await session.scalar(select(func.count()).select_from(Policy)) or 0) >= MAX_POLICIES:
        raise TooManyPolicies(limit=MAX_POLICIES)
    fields = data.model_dump()
    policy = Policy(version=1, branch_id=fields.pop("branch"), created_at=now, **fields)
    policy.case_key = _case_key(policy)
    session.add(policy)
    await _flush_case(session)
    return policy


async def change(
    session: AsyncSession, *, policy_id: int, changes: JsonObject, if_match: IfMatch, currency: str
) -> Policy:
    """Change terms; loans keep those under which they were made.

    Raises:
        PolicyNotFound, PolicyExists, VersionChanged.
    """
    policy = await _locked(session, policy_id, if_match, currency)
    for name, value in changes.items():
        setattr(policy, "branch_id" if name == "branch" else name, value)
    policy.case_key = _case_key(policy)
    if session.is_modified(policy):
        policy.version += 1
    await _flush_case(session)
    return policy


async def remove(session: AsyncSession, *, policy_id: int, if_match: IfMatch, currency: str) -> None:
    """Remove terms; a more general row decides from now on.

    Raises:
        PolicyNotFound, VersionChanged.
    """
    await session.delete(await _locked(session, policy_id, if_match, currency))
    await session.flush()


async def page(session: AsyncSession, *, cursor: str | None, limit: int) -> tuple[list[Policy], str | None]:
    """Policies in the order in which they were added.

    Raises:
        InvalidCursor, StaleCursor.
    """
    after = decode_cursor(cursor, _QUESTION)
    statement = select(Policy).order_by(Policy.id).limit(limit + 1)
    if after:
        statement = statement.where(Policy.id > after.id)
    found = list(await session.scalars(statement))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, found[limit - 1].id).encode(_QUESTION)


async def get(session: AsyncSession, policy_id: int) -> Policy:
    policy = await session.get(Policy, policy_id)
    if policy is None:
        raise PolicyNotFound
    return policy


def read(policy: Policy, *, currency: str) -> PolicyRead:
    return PolicyRead(
        id=policy.id,
        version=policy.version,
        category=policy.category,
        item_type=policy.item_type,
        branch=policy.branch_id,
        **_priced(policy, currency),
    )


def explain(rules: Rulebook, *, category: str, item_type: str, branch: str, currency: str) -> Explanation:
    """Which policy decides a case, and why the others don't."""
    terms = rules.terms(category=category, item_type=item_type, branch=branch)
    candidates = rules.explain(category=category, item_type=item_type, branch=branch)
    return Explanation(
        category=category,
        item_type=item_type,
        branch=branch,
        may_borrow=terms.loan_days > 0,
        terms=TermsRead(policy_id=terms.policy_id, **_priced(terms, currency)),
        candidates=[_candidate(each) for each in candidates[:MAX_EXPLAINED]],
        omitted=max(0, len(candidates) - MAX_EXPLAINED),
    )


def _candidate(candidate: Candidate) -> CandidateRead:
    category, item_type, branch = candidate.case
    return CandidateRead(
        policy_id=candidate.policy_id,
        category=category,
        item_type=item_type,
        branch=branch,
        outcome=candidate.outcome,
        because=candidate.because,
    )


def _priced(source: Policy | Terms, currency: str) -> JsonObject:
    """The terms as they are answered: what is in minor units becomes money."""
    named: JsonObject = {}
    for name in TERMS:
        value = getattr(source, name)
        bare = name.removesuffix("_minor")
        named[bare] = value if bare == name else Money(amount_minor=value, currency=currency)
    return named


async def _locked(session: AsyncSession, policy_id: int, if_match: IfMatch, currency: str) -> Policy:
    statement = select(Policy).where(Policy.id == policy_id).with_for_update()
    policy = (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()
    if policy is None:
        raise PolicyNotFound
    compare(policy.version, if_match, lambda: read(policy, currency=currency))
    return policy


def _case_key(policy: Policy) -> str:
    return "|".join(part or "" for part in (policy.category, policy.item_type, policy.branch_id))


async def _flush_case(session: AsyncSession) -> None:
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError as error:
        if "case_key" in str(error.orig):
            raise PolicyExists from None
        raise
