"""The shapes of signing in."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from app.core.schemas import Read, ShortLine, Strict
from app.users.schemas import MAX_PASSWORD_CHARACTERS, Email, Password

AnyPassword = Annotated[str, StringConstraints(max_length=MAX_PASSWORD_CHARACTERS)]
Token = Annotated[str, StringConstraints(min_length=16, max_length=256)]


class Registration(Strict):
    email: Email
    password: Password
    full_name: ShortLine


class Credentials(Strict):
    email: Annotated[str, StringConstraints(strip_whitespace=True, max_length=254)]
    password: AnyPassword


class RefreshRequest(Strict):
    refresh_token: Token


class TokenPair(Read):
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"]
    expires_in: int
