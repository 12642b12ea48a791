"""Access tokens for people of a test who are to ask a running service, without a password to be hashed for each."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from app.auth.service import sessions
from app.core.config import Settings
from app.core.db import Database
from app.core.security import TokenSigner
from app.users.models import User


async def sign_in(database: Database, settings: Settings, people: Iterable[User]) -> list[str]:
    """A token of each, signed as the service with these settings signs (PUBLIC_URL must be given)."""
    signer, now = TokenSigner(settings), datetime.now(UTC)
    async with database.transaction() as session:
        pairs = [
            await sessions.open_session(session, user=user, signer=signer, life=timedelta(days=1), now=now)
            for user in people
        ]
    return [pair.access_token for pair in pairs]
