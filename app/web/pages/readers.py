"""Accounts as the desk and the admins keep them: finding, making, changing; money taken, forgiven, paid back."""

import re
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api.credentials import SignInDesk
from app.api.deps import MoneyTaker, MoneyWaiver, ReaderEditor, ReaderViewer
from app.api.v1.endpoints import charges as api_charges
from app.api.v1.endpoints import users as api_users
from app.auth.permissions import Permission
from app.charges.schemas import Settlement
from app.core.errors import AppError
from app.core.versioning import VersionChanged
from app.users import queries
from app.users import service as users
from app.users.models import Role
from app.users.schemas import UserChange, UserCreate
from app.web import forms
from app.web.catalogue import branch_names
from app.web.forms import Mistakes
from app.web.page import Page, View
from app.web.pages.own import books_of

router = APIRouter()

Cursor = Annotated[str | None, Query(max_length=1_024)]
FIELDS: Final = (
    "email",
    "full_name",
    "card_number",
    "category",
    "home_branch",
    "expires_on",
    "blocked_reason",
    "locale",
)
_AMOUNT: Final = re.compile(r"(\d{1,6})(?:[.,](\d{1,2}))?", re.ASCII)
NULLABLE: Final = ("home_branch", "expires_on", "blocked_reason")


@router.get("/readers")
async def find(
    page: Page, who: ReaderViewer, q: Annotated[str, Query(max_length=200)] = "", cursor: Cursor = None
) -> Response:
    """Accounts by card, address or the beginning of a name; each look is written down."""
    card = q if q.isdigit() else None
    async with page.database.transaction() as session:
        found, following = await queries.page(
            session, viewer=api_users.viewer_of(who), q=q if q and card is None else None, card_number=card,
            cursor=cursor, limit=50,
        )  # fmt: skip
        for user in found:
            api_users.note_view(session, who, user, "list", page.now)
        listed = [await users.read(session, user) for user in found]
    return page.show("readers.html", q=q, readers=listed, following=following)


@router.get("/readers/new")
async def ask(page: Page, who: ReaderEditor) -> Response:
    """An empty form."""
    del who
    return await _form(page, "reader_new.html", typed={}, problem=None, errors={})


@router.post("/readers/new")
async def add(page: Page, who: ReaderEditor, desk: SignInDesk) -> Response:
    """Make an account; its owner chooses the password by a mailed link."""
    values: dict[str, Any] = {name: page.text(name) for name in FIELDS if name != "blocked_reason"}
    values |= {"role": page.text("role"), "branches": page.texts("branches")}
    try:
        data = forms.read(UserCreate, values, page.words)
        async with page.changing() as session:
            made = await api_users.create_user(data, session, who, desk.mailer, Response(), page.now)
            return page.go(f"/readers/{made.id}", "added")
    except Mistakes as mistakes:
        return await _form(page, "reader_new.html", 422, typed=page.typed, problem=None, errors=mistakes.errors)
    except AppError as error:
        return await _form(
            page, "reader_new.html", error.status, typed=page.typed, problem=page.words.refusal(error), errors={}
        )


async def _form(page: View, template: str, status: int = 200, **facts: Any) -> Response:
    async with page.database.reading() as session:
        return page.show(template, status, branches=await branch_names(session), roles=list(Role), **facts)


@router.get("/readers/{user_id}")
async def show(page: Page, who: ReaderViewer, user_id: UUID) -> Response:
    """One account: what it has, what it owes, and how it may be changed."""
    del who
    return await _one(page, user_id)


async def _one(
    page: View, user_id: UUID, *, errors: dict[str, str] | None = None, error: AppError | None = None
) -> Response:
    async with page.database.transaction() as session:
        user = await queries.seen(session, user_id, viewer=api_users.viewer_of(page.me))
        if user is None:
            raise users.UserNotFound
        api_users.note_view(session, page.me, user, "account", page.now)
        account = await users.read(session, user)
        facts = await books_of(session, page, user_id)
        facts["statement"] = await api_charges.statement_of(session, user.pseudonym, page.settings.currency, None, 20)
        facts["branches"] = await branch_names(session)
    stored = {name: str(getattr(account, name) or "") for name in FIELDS}
    version = account.version if isinstance(error, VersionChanged) or not page.text("version") else page.text("version")
    return page.show(
        "reader.html", error.status if error else 422 if errors else 200, account=account, version=version,
        typed=stored | page.typed, roles=list(Role), errors=errors or {},
        problem=page.words.refusal(error) if error else None, **facts,
    )  # fmt: skip


@router.post("/readers/{user_id}")
async def save(page: Page, who: ReaderEditor, user_id: UUID, desk: SignInDesk) -> Response:
    """Change an account, unless somebody else did so meanwhile."""
    values: dict[str, Any] = {name: page.text(name) or (None if name in NULLABLE else "") for name in FIELDS}
    if who.may(Permission.EDIT_STAFF):
        values |= {
            "role": page.text("role"),
            "branches": page.texts("branches"),
            "disabled": bool(page.text("disabled")),
        }
    version = page.number("version")
    try:
        data = forms.read(UserChange, values, page.words)
        async with page.changing() as session:
            await api_users.update_user(
                user_id, data, session, who, desk.mailer, frozenset({version}), Response(), page.now
            )
            return page.go(f"/readers/{user_id}", "saved")
    except Mistakes as mistakes:
        return await _one(page, user_id, errors=mistakes.errors)
    except AppError as error:
        return await _one(page, user_id, error=error)


@router.post("/readers/{user_id}/payments")
async def pay(page: Page, who: MoneyTaker, user_id: UUID) -> Response:
    """Take money: the oldest charges first."""
    return await _settle(page, user_id, "paid", lambda data, session: api_charges.take_payment(
        user_id, data, session, who, page.settings, page.now))  # fmt: skip


@router.post("/readers/{user_id}/waivers")
async def waive(page: Page, who: MoneyWaiver, user_id: UUID) -> Response:
    """Forgive what is owed to one's own branches."""
    return await _settle(page, user_id, "waived", lambda data, session: api_charges.waive_charges(
        user_id, data, session, who, page.settings, page.now))  # fmt: skip


@router.post("/readers/{user_id}/refunds")
async def refund(page: Page, who: MoneyTaker, user_id: UUID) -> Response:
    """Pay a credit out."""
    return await _settle(page, user_id, "refunded", lambda data, session: api_charges.pay_refund(
        user_id, data, session, who, page.settings, page.now))  # fmt: skip


async def _settle(page: View, user_id: UUID, said: str, settle: Any) -> Response:
    """Write an amount down, typed as one writes it: `2.50` or `2,50`."""
    try:
        data = forms.read(Settlement, {"amount_minor": _minor(page), "note": page.text("note")}, page.words)
        async with page.changing() as session:
            await settle(data, session)
            return page.go(f"/readers/{user_id}", said)
    except Mistakes as mistakes:
        return await _one(page, user_id, errors=mistakes.errors)
    except AppError as error:
        return await _one(page, user_id, error=error)


def _minor(page: View) -> int:
    """What was typed as an amount, in minor units.

    Raises:
        Mistakes.
    """
    found = _AMOUNT.fullmatch(page.text("amount"))
    if found is None:
        raise Mistakes({"amount": str(page.words.say("Write an amount such as 2.50."))})
    return int(found.group(1)) * 100 + int((found.group(2) or "").ljust(2, "0"))
