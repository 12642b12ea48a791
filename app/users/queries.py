"""Reading accounts: by id, address and card, and the desk's search; what is personal is scoped by who asks."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.direct import Direct
from app.core.pagination import Cursor, InvalidCursor, decode_cursor, question_of
from app.users.models import Role, StaffBranch, User

_STAFF_BRANCHES: Final = Direct(
    select(StaffBranch.branch_id).where(StaffBranch.user_id == bindparam("user_id")).order_by(StaffBranch.branch_id)
)
_HOLDER: Final = Direct(select(User.id).where(User.card_number == bindparam("card_number")))
_HOME: Final = Direct(select(User.home_branch_id).where(User.id == bindparam("user_id")))
_HOLD: Final = Direct(
    select(User.category, User.expires_on, User.blocked_reason)
    .where(User.id == bindparam("user_id"))
    .with_for_update(key_share=True)
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose accounts somebody may see: his own, every reader's, everybody's."""

    user_id: UUID
    sees_readers: bool
    sees_everybody: bool

    def may_see(self) -> ColumnElement[bool]:
        """The condition that every statement about other people's accounts carries."""
        if self.sees_everybody:
            return true()
        own = User.id == self.user_id
        return or_(own, User.role == Role.READER) if self.sees_readers else own


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id)


async def seen(session: AsyncSession, user_id: UUID, *, viewer: Viewer) -> User | None:
    """The account, if the viewer may see it; what is not his and what is not there are the same."""
    return (await session.scalars(select(User).where(User.id == user_id, viewer.may_see()))).one_or_none()


async def names(session: AsyncSession, pseudonyms: Collection[UUID]) -> dict[UUID, str]:
    """The names behind some pseudonyms, of accounts that are still there."""
    found = await session.execute(select(User.pseudonym, User.full_name).where(User.pseudonym.in_(pseudonyms)))
    return {row.pseudonym: row.full_name for row in found}


async def behind(session: AsyncSession, pseudonym: UUID) -> UUID | None:
    """The account behind a pseudonym; None if it was erased."""
    return await session.scalar(select(User.id).where(User.pseudonym == pseudonym))


async def by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(select(User).where(User.email == email.casefold()))).one_or_none()


async def by_card(session: AsyncSession, card_number: str) -> User | None:
    return (await session.scalars(select(User).where(User.card_number == card_number))).one_or_none()


async def holder(session: AsyncSession, card_number: str) -> UUID | None:
    """Whose card this is."""
    return next((row.id for row in await _HOLDER.all(session, card_number=card_number)), None)


async def home_branch(session: AsyncSession, user_id: UUID) -> str | None:
    """Where the reader usually collects, if he has said so."""
    return next((row.home_branch_id for row in await _HOME.all(session, user_id=user_id)), None)


async def hold(session: AsyncSession, user_id: UUID) -> Any:
    """The account's `category`, `expires_on` and `blocked_reason`, with its row locked; None without the account."""
    return await _HOLD.one(session, user_id=user_id)


async def locked(session: AsyncSession, user_id: UUID) -> User | None:
    """The account with its row locked, read afresh."""
    statement = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def lock_admins(session: AsyncSession) -> Sequence[UUID]:
    """The admins who can sign in, locked in one order, so that two can't remove each other at once."""
    statement = select(User.id).where(User.role == Role.ADMIN, User.disabled_at.is_(None)).order_by(User.id)
    return (await session.scalars(statement.with_for_update(key_share=True))).all()


async def staff_branches(session: AsyncSession, user_id: UUID) -> list[str]:
    """The branches in which a librarian works, by id."""
    return [row.branch_id for row in await _STAFF_BRANCHES.all(session, user_id=user_id)]


async def newest(session: AsyncSession, *, limit: int) -> Sequence[User]:
    return (await session.scalars(select(User).order_by(User.created_at.desc()).limit(limit))).all()


async def page(
    session: AsyncSession, *, viewer: Viewer, q: str | None, card_number: str | None, cursor: str | None, limit: int
) -> tuple[list[User], str | None]:
    """Accounts in the order in which they were made; `q` is an address or begins a word of the name.

    Names are compared one by one: some 50 ms in a hundred thousand accounts.

    Raises:
        InvalidCursor, StaleCursor.
    """
    question = question_of("users", q, card_number)
    after = decode_cursor(cursor, question, row_id=str)
    statement = select(User).where(viewer.may_see()).order_by(User.id).limit(limit + 1)
    if card_number is not None:
        statement = statement.where(User.card_number == card_number)
    if q is not None:
        key = name_key(q)
        by_name = or_(
            User.name_key.startswith(key, autoescape=True), User.name_key.contains(" " + key, autoescape=True)
        )
        statement = statement.where(User.email == q.casefold() if "@" in q else by_name)
    if after:
        statement = statement.where(User.id > _uuid(after.id))
    found = list(await session.scalars(statement))
    if len(found) <= limit:
        return found, None
    return found[:limit], Cursor(None, str(found[limit - 1].id)).encode(question)


def name_key(name: str) -> str:
    """A name without case and marks, by which the desk finds it."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _uuid(text: int | str) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise InvalidCursor from None
