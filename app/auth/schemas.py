"""The shapes of signing in."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.auth.permissions import SCOPES
from app.core.schemas import JsonObject, Line, Read, ShortLine, Strict
from app.users.schemas import MAX_PASSWORD_CHARACTERS, Email, Password

MAX_KEY_DAYS = 366


def _known_scope(value: str) -> str:
    if value not in SCOPES:
        raise ValueError(f"must be one of {', '.join(sorted(SCOPES))}")
    return value


AnyPassword = Annotated[str, StringConstraints(max_length=MAX_PASSWORD_CHARACTERS)]
# What somebody typed as his address: may be wrong, but is one line that a database takes.
Address = Annotated[Line, StringConstraints(max_length=254)]
AnyCode = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Token = Annotated[str, StringConstraints(min_length=16, max_length=256)]
Scope = Annotated[str, AfterValidator(_known_scope), Field(json_schema_extra={"enum": sorted(SCOPES)})]


class Registration(Strict):
    email: Email
    password: Password
    full_name: ShortLine


class MailSent(Read):
    """The same whether the address has an account or not; the mail tells the rest."""

    status: Literal["mail_sent"]


class Credentials(Strict):
    email: Address
    password: AnyPassword


class RefreshRequest(Strict):
    refresh_token: Token


class TokenPair(Read):
    access_token: str
    refresh_token: str
    token_type: Literal["bearer"]
    expires_in: int


class MfaRequired(Read):
    """The password may be right; POST /auth/mfa/login with the token and a code of one of the methods."""

    mfa_required: Literal[True]
    mfa_token: str
    methods: list[Literal["totp", "recovery_code", "passkey", "email_code"]]


class MfaLogin(Strict):
    mfa_token: Token
    code: AnyCode


class Confirmation(Strict):
    """The password; and, with an authenticator app, its code."""

    password: AnyPassword
    code: AnyCode | None = None


class CodeProof(Strict):
    code: AnyCode


class TotpBegun(Read):
    """For the app: `uri` as a QR code, or `secret` typed in. It counts once a code of it is confirmed."""

    secret: str
    uri: str


class RecoveryCodes(Read):
    """Shown once; each works once."""

    recovery_codes: list[str]


class PasskeyRead(Read):
    id: UUID
    name: str
    created_at: datetime
    used_at: datetime | None


class Factors(Read):
    totp: bool
    recovery_codes_left: int
    passkeys: list[PasskeyRead]
    is_required: bool


class PasskeyOptions(Read):
    """`options` are for the browser's `navigator.credentials`; its answer comes back with the token."""

    token: str
    options: JsonObject


class PasskeyCreate(Strict):
    token: Token
    name: ShortLine
    credential: JsonObject


class PasskeyLogin(Strict):
    token: Token
    credential: JsonObject


class PasswordChange(Strict):
    current_password: AnyPassword
    new_password: Password


class EmailChange(Strict):
    email: Email
    password: AnyPassword


class Forgotten(Strict):
    email: Address


class MailedToken(Strict):
    token: Token


class PasswordReset(Strict):
    token: Token
    password: Password


class OpenSession(Read):
    id: UUID
    kind: Literal["token", "cookie"]
    device: str | None
    address: str | None
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime


class SessionRead(OpenSession):
    is_current: bool


class SessionPage(Read):
    items: list[SessionRead]
    next: None


class ApiKeyCreate(Strict):
    name: ShortLine
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))]
    days: Annotated[int, Field(ge=1, le=MAX_KEY_DAYS, description="How long it works")] = 90


class ApiKeyRead(Read):
    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class ApiKeyMade(ApiKeyRead):
    """The only answer that holds the key itself."""

    key: str


class ApiKeyPage(Read):
    items: list[ApiKeyRead]
    next: None
