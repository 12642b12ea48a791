"""Everything about one account, wherever it stands; the one list of where that is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.audit.models import AuditEntry
from app.audit.queries import VIEW
from app.auth.models import ApiKey, Challenge, MailToken, Passkey, RecoveryCode, Session, TotpSecret
from app.bookings.models import Booking
from app.books import queries as books
from app.charges.models import Entry
from app.core.schemas import JsonObject
from app.idempotency.models import IdempotencyKey
from app.loans.models import Loan
from app.notifications.models import Notice
from app.uploads.models import Upload
from app.users import queries as users
from app.users.models import StaffBranch, User


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows that are somebody's: `owner` says whose, by id or by pseudonym; `secrets` are columns that stay here."""

    owner: InstrumentedAttribute[Any]
    secrets: frozenset[str] = frozenset()

    def value(self, user: User) -> UUID:
        return user.pseudonym if self.owner.key in {"subject", "actor"} else user.id


KINDS: Final = {
    "loans": Kind(Loan.reader_id),
    "bookings": Kind(Booking.reader_id),
    "charges": Kind(Entry.subject),
    "notices": Kind(Notice.reader_id),
    "uploads": Kind(Upload.owner_id),
    "sessions": Kind(Session.user_id, frozenset({"family_digest", "refresh_digest", "previous_digest"})),
    "api_keys": Kind(ApiKey.user_id, frozenset({"digest"})),
    "passkeys": Kind(Passkey.user_id, frozenset({"credential_id", "public_key"})),
    "authenticator": Kind(TotpSecret.user_id, frozenset({"encrypted", "last_step"})),
    "recovery_codes": Kind(RecoveryCode.user_id, frozenset({"digest"})),
    "mail_tokens": Kind(MailToken.user_id, frozenset({"digest"})),
    "challenges": Kind(Challenge.user_id, frozenset({"digest", "nonce"})),
    "idempotency_keys": Kind(IdempotencyKey.user_id, frozenset({"scope", "body_digest", "headers", "body"})),
    "staff_branches": Kind(StaffBranch.user_id),
}


async def everything(session: AsyncSession, user: User) -> dict[str, list[JsonObject]]:
    """The account's rows by kind, the oldest first, with titles, and with who looked and who did what to it."""
    found = {name: await _rows(session, kind, user) for name, kind in KINDS.items()}
    for rows in (found["loans"], found["bookings"]):
        titles = await books.titles(session, {row["book_id"] for row in rows})
        for row in rows:
            row["title"] = titles.get(row["book_id"])
    about = await session.scalars(
        select(AuditEntry)
        .where((AuditEntry.subject == user.pseudonym) | (AuditEntry.actor == user.pseudonym))
        .order_by(AuditEntry.id)
    )
    entries = list(about)
    names = await users.names(session, {entry.actor for entry in entries if entry.actor})
    views = [entry for entry in entries if entry.action == VIEW and entry.subject == user.pseudonym]
    found["views"] = [_plain(entry) | {"by": names.get(entry.actor) if entry.actor else None} for entry in views]
    found["audit"] = [_plain(entry) for entry in entries if entry not in views]
    return found


async def _rows(session: AsyncSession, kind: Kind, user: User) -> list[JsonObject]:
    model = kind.owner.class_
    statement = select(model).where(kind.owner == kind.value(user)).order_by(*inspect(model).primary_key)
    return [_plain(row, without=kind.secrets) for row in await session.scalars(statement)]


def _plain(row: Any, *, without: Iterable[str] = ()) -> JsonObject:
    names = [column.key for column in inspect(type(row)).columns if column.key not in without]
    return {name: _json(getattr(row, name)) for name in names}


def _json(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value
