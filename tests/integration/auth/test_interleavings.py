"""Refresh, retry, theft and logout in random orders: thief and victim never both stay in."""

import os
import random
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.schemas import TokenPair
from app.auth.service import sessions
from app.core.config import Settings
from app.core.db import Database
from app.core.errors import AppError
from app.core.mail import Mailer
from app.core.security import TokenSigner
from app.users import queries as user_queries
from app.users.models import User
from tests.conftest import Person

pytestmark = pytest.mark.anyio

INTERLEAVINGS = 100_000 if os.environ.get("FULL") else 300
LONG = sessions.REUSE_GRACE * 3


class Story:
    """One family, its victim and a thief who copies the victim's refresh token once."""

    def __init__(self, session: AsyncSession, settings: Settings, mailer: Mailer, user: User) -> None:
        self.session, self.mailer, self.user = session, mailer, user
        self.signer = TokenSigner(settings)
        self.now = datetime.now(UTC)
        self.held: dict[str, str] = {}
        self.is_logged_out = False

    async def open(self) -> None:
        pair = await sessions.open_session(
            self.session, user=self.user, signer=self.signer, life=timedelta(days=30), now=self.now
        )
        self.held["victim"] = pair.refresh_token

    async def refresh(self, who: str, *, is_answer_lost: bool = False) -> bool:
        if who not in self.held:
            return False
        result = await sessions.refresh(
            self.session, refresh_token=self.held[who], signer=self.signer, mailer=self.mailer, now=self.now
        )
        if isinstance(result, AppError):
            return False
        assert isinstance(result, TokenPair)
        assert not self.is_logged_out, "a session that was ended came back"
        if not is_answer_lost:
            self.held[who] = result.refresh_token
        return True

    async def step(self, choice: random.Random) -> None:
        self.now += timedelta(seconds=choice.choice((0, 0.2, 2, 30)))
        match choice.randrange(7):
            case 0 | 1:
                await self.refresh("victim", is_answer_lost=choice.random() < 0.2)
            case 2 | 3:
                await self.refresh("thief", is_answer_lost=choice.random() < 0.2)
            case 4 | 5 if "thief" not in self.held:
                self.held["thief"] = self.held["victim"]
            case 6 if choice.random() < 0.1:
                await sessions.end_all(self.session, user_id=self.user.id)
                self.is_logged_out = True


async def test_thief_and_victim_never_both_stay_in(settings: Settings, database: Database, reader: Person) -> None:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"seed {seed}\n")
    choice = random.Random(seed)
    mailer = Mailer(settings)
    survived = {"victim": 0, "thief": 0}
    async with database.reading() as session:
        user = await user_queries.by_email(session, reader.email)
    assert user is not None
    for _ in range(INTERLEAVINGS):
        with suppress(_Undone):
            async with database.transaction() as session:
                story = Story(session, settings, mailer, user)
                await story.open()
                for _ in range(choice.randrange(2, 9)):
                    await story.step(choice)
                is_stolen = "thief" in story.held
                alive = []
                for _ in range(2):
                    for who in ("thief", "victim"):
                        story.now += LONG
                        if await story.refresh(who):
                            alive.append(who)
                assert len(set(alive[-2:])) <= 1 or not is_stolen, (seed, alive)
                for who in set(alive):
                    survived[who] += 1
                raise _Undone
    assert survived["victim"], "no story leaves the honest client signed in: the test proves nothing"
    assert survived["thief"], "no theft succeeds for a moment: the test proves nothing"


class _Undone(Exception):
    """Rolls a story back."""
