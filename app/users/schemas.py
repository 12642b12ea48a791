"""The shapes of accounts."""

import re
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.core.schemas import Code, Read, ShortLine, Strict
from app.users.models import Role

DEFAULT_CATEGORY = "adult"
MIN_PASSWORD_CHARACTERS = 10
MAX_PASSWORD_CHARACTERS = 128

# Deliverability is the mail server's to judge; this keeps out what can't be an address or would break a header.
_EMAIL = re.compile(
    r"[^\s@<>()\[\],;:\"\\\x00-\x20\x7f]{1,64}@[^\s@.<>()\[\],;:\"\\\x00-\x20\x7f]+(\.[^\s@.<>()\[\],;:\"\\\x00-\x20\x7f]+)*"
)


def _address(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError("must be an e-mail address such as reader@library.test")
    return value.casefold()


Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254), AfterValidator(_address)]
Password = Annotated[str, StringConstraints(min_length=MIN_PASSWORD_CHARACTERS, max_length=MAX_PASSWORD_CHARACTERS)]
Locale = Literal["en", "ru"]
CardNumber = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{4,32}$")]
IsoDate = Annotated[date, Field(strict=False)]


class UserRead(Read):
    id: UUID
    version: int
    email: str
    full_name: str
    role: Role
    locale: str
    card_number: str
    category: str
    home_branch: str | None
    expires_on: date | None
    blocked_reason: str | None
    keeps_history: bool
    branches: list[str]
    email_verified: bool
    disabled: bool
    created_at: datetime


class UserPage(Read):
    items: list[UserRead]
    next: str | None


class UserCreate(Strict):
    """An account made at the desk: its owner gets a mail to choose a password. A card is given if none is named."""

    email: Email
    full_name: ShortLine
    card_number: CardNumber | None = None
    category: Code = DEFAULT_CATEGORY
    home_branch: Code | None = None
    expires_on: IsoDate | None = None
    locale: Locale = "en"
    role: Annotated[Role, Field(strict=False, description="Admins: librarian or admin too")] = Role.READER
    branches: Annotated[list[Code], Field(max_length=100, description="Admins: where a librarian works")] = []


class UserChange(Strict):
    """What staff may change of an account; only the fields sent are touched."""

    email: Email = ""
    full_name: ShortLine = ""
    card_number: CardNumber = ""
    category: Code = ""
    home_branch: Code | None = None
    expires_on: IsoDate | None = None
    blocked_reason: ShortLine | None = None
    locale: Locale = "en"
    role: Annotated[Role, Field(strict=False, description="Admins only")] = Role.READER
    branches: Annotated[list[Code], Field(max_length=100, description="Admins only")] = []
    disabled: Annotated[bool, Field(description="Admins only: can't sign in, all sessions and keys end")] = False


class UserUpdate(Strict):
    """What a reader may change of himself; only the fields sent are touched."""

    full_name: ShortLine = ""
    locale: Locale = "en"
    home_branch: Code | None = None
    keeps_history: Annotated[bool, Field(description="Keep the list of what I borrowed")] = False
