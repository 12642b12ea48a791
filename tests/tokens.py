"""Access tokens for people of a test who are to ask a running service, without a password to be hashed for each."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from app.auth.service import sessions
from app.core.config import Settings
from app.core.db import Database
from app.core.security import TokenSigner, nobodys_hash
from app.users import service as users
from app.users.models import Role, User


async def sign_in(database: Database, settings: Settings, people: Iterable[User]) -> list[str]:
    """A token of each, signed as the service with these settings signs (PUBLIC_URL must be given)."""
    signer, now = TokenSigner(settings), datetime.now(UTC)
    async with database.transaction() as session:
        pairs = [
            await sessions.open_session(session, user=user, signer=signer, life=timedelta(days=1), now=now)
            for user in people
        ]
    return [pair.access_token for pair in pairs]


async def librarian(database: Database, branches: Collection[str] = ("main",)) -> User:
    """Somebody to stand at a desk; nobody knows his password."""
    number = users.new_card_number()
    async with database.transaction() as session:
        return await users.create(
            session,
            email=f"desk{number}@library.test",
            password_hash=nobodys_hash(),
            full_name=f"Desk {number}",
            role=Role.LIBRARIAN,
            now=datetime.now(UTC),
            branches=branches,
        )
