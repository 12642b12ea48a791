"""The shape of what somebody is given when he asks for everything about himself."""

from datetime import datetime

from app.core.schemas import JsonObject, Read
from app.users.schemas import UserRead


class PersonalData(Read):
    """Everything about one account, by kind; of secrets only that they exist, never what they are."""

    exported_at: datetime
    account: UserRead
    loans: list[JsonObject]
    bookings: list[JsonObject]
    charges: list[JsonObject]
    notices: list[JsonObject]
    uploads: list[JsonObject]
    sessions: list[JsonObject]
    api_keys: list[JsonObject]
    passkeys: list[JsonObject]
    authenticator: list[JsonObject]
    recovery_codes: list[JsonObject]
    mail_tokens: list[JsonObject]
    challenges: list[JsonObject]
    idempotency_keys: list[JsonObject]
    staff_branches: list[JsonObject]
    views: list[JsonObject]
    audit: list[JsonObject]
