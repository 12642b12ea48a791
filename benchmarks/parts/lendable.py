"""A library in which many readers can borrow, a book and a copy each; made once a run, then copied."""

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy import select

from app.core.config import Settings
from app.core.db import Database
from app.policies import service as policies
from app.policies.schemas import PolicyCreate
from app.users.models import Role, User
from benchmarks.stage import Stage
from tests.circulation import Library
from tests.tokens import librarian, sign_in

PEOPLE: Final = 60_000
DESKS: Final = 75
MODEL: Final = "lendable"
# Every book, copy and reader like the first; the ids of copies are far from those of books, so that a number tells
# which it is.
FILL: Final = f"""
    ALTER TABLE copies ALTER id RESTART WITH 10000000;
    INSERT INTO books (version, title, title_key, document, search_terms, suppressed, created_at, updated_at)
    SELECT version, title, title_key, document, search_terms, suppressed, created_at, updated_at
    FROM books CROSS JOIN generate_series(1, {PEOPLE});
    INSERT INTO copies (version, book_id, barcode, branch_id, at_branch_id, item_type, status, price_minor, created_at)
    SELECT 1, id, 'b-' || id, 'main', 'main', 'book', 'available', 1500, now() FROM books WHERE id > 1;
    INSERT INTO users (id, version, pseudonym, email, password_hash, full_name, name_key, role, locale, card_number,
                       category, keeps_history, created_at)
    SELECT gen_random_uuid(), 1, gen_random_uuid(), 'r' || n || '@library.test', password_hash, full_name, name_key,
           role, locale, 'c-' || n, category, keeps_history, created_at
    FROM users CROSS JOIN generate_series(1, {PEOPLE}) AS n WHERE role = 'reader';
    CREATE SEQUENCE turn;
    CREATE TABLE turns AS
    SELECT n, copies.id AS copy_id, book_id, barcode, users.id AS reader_id, card_number
    FROM generate_series(2, {PEOPLE}) AS n JOIN copies ON barcode = 'b-' || n JOIN users ON card_number = 'c-' || n;
    ALTER TABLE turns ADD PRIMARY KEY (n);
    VACUUM ANALYZE
"""


@dataclass(frozen=True, slots=True)
class Lendable:
    """Reader `c-N` may borrow copy `b-N`, for N from 2 to `PEOPLE`."""

    settings: Settings

    def tokens(self, role: Role, count: int) -> list[str]:
        """Who has this role signs in; good for a quarter of an hour, so a long part asks more than once."""
        return asyncio.run(self._tokens(role, count))

    async def _tokens(self, role: Role, count: int) -> list[str]:
        database = Database(self.settings)
        async with database.reading() as session:
            people = list(await session.scalars(select(User).where(User.role == role).limit(count)))
        tokens = await sign_in(database, self.settings, people)
        await database.close()
        return tokens


def lendable(stage: Stage, name: str) -> Lendable:
    """A copy of it, with the name of a part."""
    _model(stage)
    return Lendable(stage.library(name, like=MODEL))


@cache
def _model(stage: Stage) -> None:
    asyncio.run(_first(stage.library(MODEL)))
    for statement in FILL.split(";"):
        stage.administer(statement, database=MODEL)


async def _first(settings: Settings) -> None:
    database = Database(settings)
    library = Library(database)
    await library.book()
    await library.reader()
    many = PolicyCreate(loan_limit=1_000, booking_limit=1_000)
    await library.act(lambda session, context: policies.add(session, data=many, now=context.now))
    for _ in range(DESKS):
        await librarian(database)
    await database.close()
