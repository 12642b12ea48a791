"""The demonstration library: two branches, terms, accounts, books and copies, put into an empty database at once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.books import service as books
from app.books.models import Book
from app.branches import service as branches
from app.branches.models import Branch
from app.branches.schemas import BranchCreate
from app.commands.demo import people, shelves
from app.copies import service as copies
from app.core.errors import Conflict
from app.policies import service as policies
from app.policies.models import Policy
from app.policies.schemas import PolicyCreate
from app.users import service as users
from app.users.models import User

NO_PASSWORD: Final = "!"  # noqa: S105  # no hash: no password fits it

POLICIES: Final = (
    PolicyCreate(fine_per_day_minor=10, fine_cap_minor=500),
    PolicyCreate(category="child", loan_limit=10, booking_limit=5),
    PolicyCreate(category="student", loan_days=42, renewals=3, loan_limit=30, fine_per_day_minor=5, fine_cap_minor=250),
    PolicyCreate(category="staff", loan_days=84, renewals=5, loan_limit=50, booking_limit=20),
    PolicyCreate(item_type="reference", loan_days=0, renewals=0, loan_limit=0, booking_limit=0),
)


class NotEmpty(Conflict):
    code, detail = (
        "not_empty",
        (
            "This library holds {what} already, and the demonstration goes only into an empty one."
            " Choose another with DATA_DIR or DATABASE_URL."
        ),
    )


class SeedUnderWay(Conflict):
    code, detail = "seed_under_way", "Another seed is filling this library just now; try again when it has finished."


async def check_empty(session: AsyncSession) -> None:
    """Raise NotEmpty if anybody has put anything in, or SeedUnderWay; of two seeds one gets the first branch's lock."""
    free = select(Branch.id).where(Branch.id == shelves.MAIN).with_for_update(skip_locked=True)
    if await session.scalar(free) is None:
        raise SeedUnderWay
    for what, condition in (
        ("books", exists(select(Book.id))),
        ("accounts", exists(select(User.id))),
        ("policies", exists(select(Policy.id))),
        ("other branches", exists(select(Branch.id).where(Branch.id != shelves.MAIN))),
    ):
        if await session.scalar(select(condition)):
            raise NotEmpty(what=what)


async def fill(session: AsyncSession, *, password_hashes: Mapping[str, str], now: datetime) -> dict[str, int]:
    """Put everything in; returns how many of each. `password_hashes` are by address, for those who sign in.

    Everything but the accounts' random ids follows from the files and `now`. The caller's transaction makes it all
    or nothing.

    Raises:
        NotEmpty, SeedUnderWay.
    """
    await check_empty(session)
    await branches.open_branch(session, data=BranchCreate(id=shelves.RIVER, name="Riverside branch"), now=now)
    for terms in POLICIES:
        await policies.add(session, data=terms, now=now)
    accounts = list(people.accounts())
    for account in accounts:
        await users.create(
            session,
            email=account.email,
            password_hash=password_hashes.get(account.email, NO_PASSWORD),
            full_name=account.full_name,
            role=account.role,
            branches=account.branches,
            category=account.category,
            home_branch=account.home_branch,
            card_number=account.card_number,
            now=now,
        )
    titles = shelves.titles()
    added = await books.add_many(session, books=[books.prepare(title.book, now=now) for title in titles])
    shelved = [(added[index], copy) for index, copy in shelves.copies(titles)]
    await copies.add_many(session, copies=shelved, branch_id=shelves.MAIN, now=now)
    return {
        "branches": 2,
        "policies": len(POLICIES),
        "accounts": len(accounts),
        "books": len(added),
        "copies": len(shelved),
    }
