"""A small library to play with: services called in committing transactions, as the edges call them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import has_on_loan
from app.audit.service import SYSTEM
from app.bookings import service as bookings
from app.bookings.context import Context
from app.bookings.models import Booking
from app.bookings.service import Wish
from app.books import service as books
from app.books.schemas import BookCreate
from app.branches import service as branches
from app.branches.schemas import BranchCreate
from app.copies import service as copies
from app.copies.models import Copy
from app.copies.schemas import CopyCreate
from app.copies.statuses import CopyStatus
from app.core.db import Database
from app.loans import service as loans
from app.loans.invariants import violations
from app.loans.models import Loan
from app.loans.service import Lent, Override, Returned
from app.policies import service as policies
from app.users import service as users
from app.users.models import Role, User

T = TypeVar("T")


class Library:
    """Drives one database. Every method is a transaction of its own; `now` may be set to travel in time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now: datetime | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[tuple[AsyncSession, Context]]:
        async with self.database.transaction() as session:
            rules = await policies.rulebook(session)
            yield session, Context(now=self.now or datetime.now(UTC), actor=SYSTEM, rules=rules, timezone="UTC")

    async def act(self, do: Callable[[AsyncSession, Context], Awaitable[T]]) -> T:
        async with self.transaction() as (session, context):
            return await do(session, context)

    async def readers(self, count: int, *, category: str = "adult") -> list[User]:
        async with self.database.transaction() as session:
            return [await self._reader(session, category) for _ in range(count)]

    async def reader(self, *, category: str = "adult") -> User:
        return (await self.readers(1, category=category))[0]

    async def _reader(self, session: AsyncSession, category: str) -> User:
        number = users.new_card_number()
        return await users.create(
            session,
            email=f"reader{number}@library.test",
            password_hash="never used",
            full_name="A reader",
            role=Role.READER,
            now=datetime.now(UTC),
            category=category,
        )

    async def book(self, *, copies: int = 0, branch: str = "main", item_type: str = "book") -> int:
        async with self.transaction() as (session, context):
            book = await books.add(session, data=BookCreate(title="Dune"), now=context.now)
        for _ in range(copies):
            await self.copy(book.id, branch=branch, item_type=item_type)
        return book.id

    async def copy(self, book_id: int, *, branch: str = "main", item_type: str = "book") -> Copy:
        async with self.transaction() as (session, context):
            data = CopyCreate(barcode=users.new_card_number(), item_type=item_type, price_minor=1_500)
            copy = await copies.add(session, book_id=book_id, data=data, branch_id=branch, now=context.now)
            await bookings.settle(session, book_id=book_id, context=context)
            return copy

    async def branch(self, name: str) -> None:
        await self.act(
            lambda session, context: branches.open_branch(
                session, data=BranchCreate(id=name, name=name), now=context.now
            )
        )

    async def place(self, reader: UUID, book_id: int, *, pickup: str = "main", priority: int = 100) -> Booking:
        wish = Wish(reader_id=reader, book_id=book_id, pickup_branch=pickup, priority=priority)
        return await self.act(
            lambda session, context: bookings.place(
                session, wish=wish, has_on_loan=has_on_loan(session, reader, book_id), context=context
            )
        )

    async def recall(self, reader: UUID, book_id: int, *, pickup: str = "main", priority: int = 100) -> Booking:
        wish = Wish(reader_id=reader, book_id=book_id, pickup_branch=pickup, priority=priority)

        async def do(session: AsyncSession, context: Context) -> Booking:
            asked = has_on_loan(session, reader, book_id)
            booking = await bookings.place(session, wish=wish, has_on_loan=asked, context=context)
            if booking.copy_id is None:
                await loans.recall(session, book_id=book_id, context=context)
            return booking

        return await self.act(do)

    async def cancel(self, booking_id: UUID) -> Booking:
        return await self.act(
            lambda session, context: bookings.cancel(
                session, booking_id=booking_id, is_mine=lambda _: True, context=context
            )
        )

    async def suspend(self, booking_id: UUID) -> Booking:
        return await self.act(
            lambda session, context: bookings.suspend(
                session, booking_id=booking_id, is_mine=lambda _: True, until=None, context=context
            )
        )

    async def lend(self, barcode: str, card: str, *, branch: str = "main", lift: Collection[str] = ()) -> Lent:
        override = Override(frozenset(lift), "a test") if lift else None
        return await self.act(
            lambda session, context: loans.lend(
                session, barcode=barcode, card_number=card, branch_id=branch, override=override, context=context
            )
        )

    async def give_back(self, barcode: str, *, branch: str = "main") -> Returned:
        return await self.act(
            lambda session, context: loans.give_back(session, barcode=barcode, branch_id=branch, context=context)
        )

    async def restate(self, copy_id: int, status: str) -> Copy:
        return await self.act(
            lambda session, context: loans.restate(
                session, copy_id=copy_id, status=CopyStatus(status), reason="a test", context=context
            )
        )

    async def bookings_of(self, book_id: int) -> list[Booking]:
        """All bookings of a book, in queue order."""
        statement = select(Booking).where(Booking.book_id == book_id)
        return await self._all(statement.order_by(Booking.priority, Booking.placed_at, Booking.id))

    async def copies_of(self, book_id: int) -> list[Copy]:
        return await self._all(select(Copy).where(Copy.book_id == book_id).order_by(Copy.id))

    async def loans_of(self, copy_id: int) -> list[Loan]:
        return await self._all(select(Loan).where(Loan.copy_id == copy_id).order_by(Loan.id))

    async def violations(self) -> list[str]:
        """What contradicts an invariant now; a sound library has nothing."""
        async with self.database.reading() as session:
            found = await violations(session, rules=await policies.rulebook(session))
        return [f"{violation.invariant}: {violation.rule}: {violation.what}" for violation in found]

    async def _all(self, statement: Any) -> list[Any]:
        async with self.database.reading() as session:
            return list(await session.scalars(statement))
