"""Accounts: making them, changing them, giving them a role and branches."""

import secrets
from collections.abc import Collection
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid4

import uuid_utils.compat as uuid_utils
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import metrics
from app.core.db import on_commit
from app.core.errors import Conflict, NotFound
from app.core.schemas import JsonObject
from app.core.versioning import IfMatch, compare
from app.users import queries
from app.users.models import Role, StaffBranch, User
from app.users.schemas import DEFAULT_CATEGORY, UserRead

CARD_DIGITS: Final = 12


class UserNotFound(NotFound):
    code, detail = "user_not_found", "There is no such account."


class CardTaken(Conflict):
    code, detail = "card_number_taken", "Another account has this card number."


class LastAdmin(Conflict):
    code, detail = "last_admin", "This is the last admin who can sign in; make another one first."


class EmailTaken(Conflict):
    code, detail = "email_taken", "There is an account with this address already; sign in instead."


async def create(
    session: AsyncSession,
    *,
    email: str,
    password_hash: str,
    full_name: str,
    role: Role,
    now: datetime,
    branches: Collection[str] = (),
    category: str = DEFAULT_CATEGORY,
    home_branch: str | None = None,
    card_number: str | None = None,
    expires_on: date | None = None,
    locale: str = "en",
) -> User:
    """Make an account, with a new card if none is given; `branches` are those in which a librarian works.

    `card_number` is for cards that exist already; left out, one is made that can't be guessed.

    Raises:
        EmailTaken, CardTaken.
    """
    user = User(
        id=uuid_utils.uuid7(),
        version=1,
        pseudonym=uuid4(),
        email=email.casefold(),
        password_hash=password_hash,
        full_name=full_name,
        name_key=queries.name_key(full_name),
        role=role,
        locale=locale,
        card_number=card_number or new_card_number(),
        category=category,
        home_branch_id=home_branch,
        expires_on=expires_on,
        keeps_history=False,
        created_at=now,
    )
    session.add(user)
    await _flush_unique(session)
    session.add_all(StaffBranch(user_id=user.id, branch_id=branch) for branch in set(branches))
    await session.flush()
    on_commit(session, metrics.users_registered_total.inc)
    return user


async def change(session: AsyncSession, *, user_id: UUID, changes: JsonObject, if_match: IfMatch) -> UserRead:
    """Change an account: any column by its name, `home_branch`, and a librarian's `branches`.

    Raises:
        UserNotFound, VersionChanged, EmailTaken, CardTaken, LastAdmin.
    """
    admins = await queries.lock_admins(session) if {"role", "disabled_at"} & changes.keys() else ()
    user = await queries.locked(session, user_id)
    if user is None:
        raise UserNotFound
    current = await read(session, user)
    compare(user.version, if_match, lambda: current)
    branches = changes.get("branches")
    for name, value in changes.items():
        if name != "branches":
            setattr(user, "home_branch_id" if name == "home_branch" else name, value)
    user.name_key = queries.name_key(user.full_name)
    if list(admins) == [user.id] and (user.role != Role.ADMIN or user.disabled_at):
        raise LastAdmin
    if session.is_modified(user) or (branches is not None and sorted(set(branches)) != current.branches):
        user.version += 1
    await _flush_unique(session)
    if branches is not None:
        await _set_branches(session, user.id, branches)
    return await read(session, user)


async def move_address(session: AsyncSession, user: User, *, email: str) -> None:
    """Give an account, locked by the caller, another address.

    Raises:
        EmailTaken.
    """
    if user.email == email.casefold():
        return
    user.email = email.casefold()
    user.version += 1
    await _flush_unique(session)


async def read(session: AsyncSession, user: User) -> UserRead:
    return UserRead(
        id=user.id,
        version=user.version,
        email=user.email,
        full_name=user.full_name,
        role=Role(user.role),
        locale=user.locale,
        card_number=user.card_number,
        category=user.category,
        home_branch=user.home_branch_id,
        expires_on=user.expires_on,
        blocked_reason=user.blocked_reason,
        keeps_history=user.keeps_history,
        branches=await queries.staff_branches(session, user.id),
        email_verified=user.email_verified_at is not None,
        disabled=user.disabled_at is not None,
        created_at=user.created_at,
    )


async def _set_branches(session: AsyncSession, user_id: UUID, branches: Collection[str]) -> None:
    await session.execute(delete(StaffBranch).where(StaffBranch.user_id == user_id))
    session.add_all(StaffBranch(user_id=user_id, branch_id=branch) for branch in set(branches))
    await session.flush()


async def _flush_unique(session: AsyncSession) -> None:
    """Write, and tell what is taken; the savepoint keeps the transaction usable."""
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError as error:
        if "email" in str(error.orig):
            raise EmailTaken from None
        if "card_number" in str(error.orig):
            raise CardTaken from None
        raise


def new_card_number() -> str:
    """Twelve random digits and a Luhn check digit: can't be guessed, and a misread scan is noticed."""
    digits = "".join(secrets.choice("0123456789") for _ in range(CARD_DIGITS))
    return digits + str(luhn_digit(digits))


def luhn_digit(digits: str) -> int:
    """Source: ISO/IEC 7812-1, annex B."""
    doubled = [int(digit) * (2 - index % 2) for index, digit in enumerate(reversed(digits))]
    return -sum(value - 9 if value > 9 else value for value in doubled) % 10  # noqa: PLR2004  # two digits
