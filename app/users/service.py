"""Accounts: making them, changing them, giving them a role and branches."""

import secrets
from collections.abc import Collection
from datetime import datetime
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
from app.users.schemas import UserRead

DEFAULT_CATEGORY: Final = "adult"
CARD_DIGITS: Final = 12


class UserNotFound(NotFound):
    code, detail = "user_not_found", "There is no such account."


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
) -> User:
    """Make an account with a card; `branches` are those in which a librarian works.

    `card_number` is for cards that exist already; left out, one is made that can't be guessed.

    Raises:
        EmailTaken.
    """
    user = User(
        id=uuid_utils.uuid7(),
        version=1,
        pseudonym=uuid4(),
        email=email.casefold(),
        password_hash=password_hash,
        full_name=full_name,
        role=role,
        locale="en",
        card_number=card_number or new_card_number(),
        category=category,
        home_branch_id=home_branch,
        keeps_history=False,
        created_at=now,
    )
    try:
        async with session.begin_nested():
            session.add(user)
            await session.flush()
            session.add_all(StaffBranch(user_id=user.id, branch_id=branch) for branch in branches)
    except IntegrityError as error:
        if "email" in str(error.orig):
            raise EmailTaken from None
        raise
    on_commit(session, metrics.users_registered_total.inc)
    return user


async def change(session: AsyncSession, *, user_id: UUID, changes: JsonObject, if_match: IfMatch) -> UserRead:
    """Change an account's own data.

    Raises:
        UserNotFound, VersionChanged.
    """
    user = await queries.locked(session, user_id)
    if user is None:
        raise UserNotFound
    current = await read(session, user)
    compare(user.version, if_match, lambda: current)
    for name, value in changes.items():
        setattr(user, "home_branch_id" if name == "home_branch" else name, value)
    if session.is_modified(user):
        user.version += 1
    await session.flush()
    return await read(session, user)


async def set_role(session: AsyncSession, *, email: str, role: Role, branches: Collection[str] = ()) -> User:
    """Give an account a role and, for a librarian, the branches in which he works.

    Raises:
        UserNotFound.
    """
    user = await queries.by_email(session, email)
    if user is None:
        raise UserNotFound
    if user.role != role:
        user.role = role
        user.version += 1
    await session.execute(delete(StaffBranch).where(StaffBranch.user_id == user.id))
    session.add_all(StaffBranch(user_id=user.id, branch_id=branch) for branch in branches)
    await session.flush()
    return user


async def set_password(session: AsyncSession, *, email: str, password_hash: str) -> User:
    """Give an account another password; ending its sessions is the caller's.

    Raises:
        UserNotFound.
    """
    user = await queries.by_email(session, email)
    if user is None:
        raise UserNotFound
    user.password_hash = password_hash
    await session.flush()
    return user


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
        created_at=user.created_at,
    )


def new_card_number() -> str:
    """Twelve random digits and a Luhn check digit: can't be guessed, and a misread scan is noticed."""
    digits = "".join(secrets.choice("0123456789") for _ in range(CARD_DIGITS))
    return digits + str(luhn_digit(digits))


def luhn_digit(digits: str) -> int:
    """Source: ISO/IEC 7812-1, annex B."""
    doubled = [int(digit) * (2 - index % 2) for index, digit in enumerate(reversed(digits))]
    return -sum(value - 9 if value > 9 else value for value in doubled) % 10  # noqa: PLR2004  # two digits
