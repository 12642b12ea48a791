"""Reading accounts: by id, address and card."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.users.models import StaffBranch, User


async def find(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id)


async def by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(select(User).where(User.email == email.casefold()))).one_or_none()


async def by_card(session: AsyncSession, card_number: str) -> User | None:
    return (await session.scalars(select(User).where(User.card_number == card_number))).one_or_none()


async def locked(session: AsyncSession, user_id: UUID) -> User | None:
    """The account with its row locked, read afresh."""
    statement = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def staff_branches(session: AsyncSession, user_id: UUID) -> list[str]:
    """The branches in which a librarian works, by id."""
    statement = select(StaffBranch.branch_id).where(StaffBranch.user_id == user_id).order_by(StaffBranch.branch_id)
    return list(await session.scalars(statement))


async def newest(session: AsyncSession, *, limit: int) -> Sequence[User]:
    return (await session.scalars(select(User).order_by(User.created_at.desc()).limit(limit))).all()
