"""What is asked of credentials before anybody knows whose they are: whether they are in force."""

from uuid import UUID

from sqlalchemy import Select, bindparam, select

from app.auth.models import ApiKey, Session, SessionKind
from app.core.functions import database_clock


def open_cookie() -> Select[UUID]:
    """The session whose cookie has the `digest`."""
    is_its = (Session.family_digest == bindparam("digest"), Session.kind == SessionKind.COOKIE)
    return select(Session.id).where(*is_its, Session.expires_at > database_clock())


def valid_key() -> Select[UUID]:
    """The API key that has the `digest`."""
    return select(ApiKey.id).where(ApiKey.digest == bindparam("digest"), ApiKey.expires_at > database_clock())
