"""Who may do what: the one table from roles to permissions, and what an API key may be narrowed to."""

from enum import StrEnum
from typing import Final

from app.users.models import Role


class Permission(StrEnum):
    EDIT_CATALOGUE = "catalogue:edit"
    IMPORT_CATALOGUE = "catalogue:import"
    EDIT_COPIES = "copies:edit"
    EDIT_BRANCHES = "branches:edit"
    EDIT_CALENDARS = "calendars:edit"
    EDIT_POLICIES = "policies:edit"
    TAKE_MONEY = "money:take"
    WAIVE_MONEY = "money:waive"
    SEE_OPERATIONS = "operations:see"
    USE_DESK = "desk:use"
    OVERRIDE_RULES = "desk:override"
    SEE_AUDIT = "audit:see"
    FOLLOW_EVENTS = "events:follow"
    SEE_READERS = "readers:see"
    EDIT_READERS = "readers:edit"
    EDIT_STAFF = "staff:edit"
    ERASE_ACCOUNTS = "accounts:erase"


class OwnAccount(StrEnum):
    """What a key may do with the account that it belongs to; a person signed in may do both."""

    READ = "account:read"
    WRITE = "account:write"


SCOPES: Final = frozenset(Permission) | frozenset(OwnAccount)

_LIBRARIAN: Final = frozenset(
    {
        Permission.EDIT_CATALOGUE,
        Permission.IMPORT_CATALOGUE,
        Permission.EDIT_COPIES,
        Permission.EDIT_CALENDARS,
        Permission.EDIT_POLICIES,
        Permission.TAKE_MONEY,
        Permission.WAIVE_MONEY,
        Permission.SEE_OPERATIONS,
        Permission.FOLLOW_EVENTS,
        Permission.USE_DESK,
        Permission.OVERRIDE_RULES,
        Permission.SEE_READERS,
        Permission.EDIT_READERS,
    }
)

GRANTS: Final[dict[Role, frozenset[Permission]]] = {
    Role.READER: frozenset(),
    Role.LIBRARIAN: _LIBRARIAN,
    Role.ADMIN: frozenset(Permission),
}
