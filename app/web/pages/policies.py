"""Terms of borrowing, and which of them decides a case."""

from typing import Any, Final

from fastapi import APIRouter, Response

from app.api.deps import PolicyEditor, RowId
from app.api.v1.endpoints import policies as api_policies
from app.core.errors import AppError
from app.core.versioning import VersionChanged
from app.policies import service as policies
from app.policies.schemas import PolicyCreate, PolicyUpdate, Question
from app.web import forms
from app.web.catalogue import branch_names
from app.web.forms import Mistakes
from app.web.page import Page, View

router = APIRouter()

CASE: Final = ("category", "item_type", "branch")
TERMS: Final = (
    "loan_days", "renewals", "loan_limit", "booking_limit", "pickup_days", "fine_per_day_minor", "fine_cap_minor",
    "lost_fee_minor", "minimum_loan_days",
)  # fmt: skip


@router.get("/policies")
async def show(page: Page, who: PolicyEditor) -> Response:
    """All terms, and the explainer: whose card and which copy, and the rule that decides."""
    del who
    asked = {name: value for name in ("card_number", "copy_barcode") if (value := page.request.query_params.get(name))}
    return await _list(page, asked)


async def _list(page: View, asked: dict[str, str], error: AppError | None = None) -> Response:
    errors: dict[str, str] = {}
    explained = None
    async with page.database.reading() as session:
        found, _ = await policies.page(session, cursor=None, limit=100)
        facts = {
            "policies": [policies.read(policy, currency=page.settings.currency) for policy in found],
            "branches": await branch_names(session),
        }
    if asked:
        try:
            question = forms.read(Question, asked, page.words)
            async with page.database.transaction() as session:
                explained = await api_policies.explain_policies(question, session, page.me, page.settings, page.now)
        except Mistakes:
            errors = {"card_number": str(page.words.say("Scan both: the reader's card and the book."))}
        except AppError as refusal:
            error = refusal
    return page.show("policies.html", error.status if error else 200, asked=asked, explained=explained, errors=errors,
                     problem=page.words.refusal(error) if error else None, **facts)  # fmt: skip


@router.get("/policies/new")
async def ask(page: Page, who: PolicyEditor) -> Response:
    """New terms, filled with the built-in ones."""
    del who
    usual = PolicyCreate()
    typed = {name: str(getattr(usual, name)) for name in TERMS}
    return await _form(page, 200, policy=None, version=0, typed=typed, problem=None, errors={})


@router.post("/policies/new")
async def add(page: Page, who: PolicyEditor) -> Response:
    """Add them."""
    try:
        data = forms.read(PolicyCreate, {name: page.text(name) for name in (*CASE, *TERMS)}, page.words)
        async with page.changing() as session:
            context = await page.context(session)
            await api_policies.create_policy(data, session, who, page.settings, context, Response())
            return page.go("/policies", "added")
    except Mistakes as mistakes:
        return await _form(page, 422, policy=None, version=0, typed=page.typed, problem=None, errors=mistakes.errors)
    except AppError as error:
        problem = page.words.refusal(error)
        return await _form(page, error.status, policy=None, version=0, typed=page.typed, problem=problem, errors={})


@router.get("/policies/{policy_id}")
async def edit(page: Page, who: PolicyEditor, policy_id: RowId) -> Response:
    """Terms as they stand."""
    del who
    return await _one(page, policy_id)


@router.post("/policies/{policy_id}")
async def save(page: Page, who: PolicyEditor, policy_id: RowId) -> Response:
    """Change them; loans keep those under which they were made."""
    version = page.number("version")
    values: dict[str, Any] = {name: page.text(name) for name in TERMS}
    values |= {name: page.text(name) or None for name in CASE}
    try:
        data = forms.read(PolicyUpdate, values, page.words)
        async with page.changing() as session:
            context = await page.context(session)
            await api_policies.update_policy(
                policy_id, data, session, who, frozenset({version}), page.settings, context, Response()
            )
            return page.go("/policies", "saved")
    except Mistakes as mistakes:
        return await _one(page, policy_id, errors=mistakes.errors)
    except AppError as error:
        return await _one(page, policy_id, error=error)


@router.post("/policies/{policy_id}/delete")
async def remove(page: Page, who: PolicyEditor, policy_id: RowId) -> Response:
    """Take terms away; more general ones decide from now on."""
    version = page.number("version")
    try:
        async with page.changing() as session:
            context = await page.context(session)
            await api_policies.delete_policy(policy_id, session, who, frozenset({version}), page.settings, context)
            return page.go("/policies", "removed")
    except AppError as error:
        return await _one(page, policy_id, error=error)


async def _one(
    page: View, policy_id: int, *, errors: dict[str, str] | None = None, error: AppError | None = None
) -> Response:
    async with page.database.reading() as session:
        policy = await policies.get(session, policy_id)
        stored = {name: str(getattr(policy, name)) for name in TERMS}
        stored |= {
            "category": policy.category or "",
            "item_type": policy.item_type or "",
            "branch": policy.branch_id or "",
        }
    version = policy.version if isinstance(error, VersionChanged) or not page.text("version") else page.text("version")
    return await _form(
        page, error.status if error else 422 if errors else 200, policy=policy, version=version,
        typed=stored | page.typed, problem=page.words.refusal(error) if error else None, errors=errors or {},
    )  # fmt: skip


async def _form(page: View, status: int, **facts: Any) -> Response:
    async with page.database.reading() as session:
        return page.show("policy.html", status, branches=await branch_names(session), terms=TERMS, **facts)
