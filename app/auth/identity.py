"""Who a request comes from: a person signed in, or a program with a key; and what he may do."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.permissions import GRANTS, OwnAccount, Permission
from app.core.errors import Forbidden
from app.users import queries as user_queries
from app.users.models import Role


class NotYourBranch(Forbidden):
    code, detail = "not_your_branch", "You don't work in the branch '{branch}'."


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from. `scopes` narrow a key; None is a person, who has all that his role grants."""

    user_id: UUID
    pseudonym: UUID
    role: Role
    session_id: UUID | None = None
    key_id: UUID | None = None
    scopes: frozenset[str] | None = None
    verified_at: datetime | None = None
    has_second_factor: bool = False
    locale: str | None = None

    def may(self, permission: Permission) -> bool:
        return permission in GRANTS[self.role] and (self.scopes is None or permission in self.scopes)

    def may_own(self, access: OwnAccount) -> bool:
        """Whether this may read or change what belongs to its own account."""
        return self.scopes is None or access in self.scopes

    @property
    def is_person(self) -> bool:
        return self.scopes is None

    @property
    def is_staff(self) -> bool:
        return self.role is not Role.READER


async def check_branch(session: AsyncSession, *, identity: Identity, branch_id: str) -> None:
    """A librarian keeps copies, calendars and policies of his own branches; an admin of all.

    Raises:
        NotYourBranch.
    """
    if identity.role is not Role.ADMIN and branch_id not in await user_queries.staff_branches(
        session, identity.user_id
    ):
        raise NotYourBranch(branch=branch_id)
