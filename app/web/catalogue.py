"""What the catalogue's pages need of the books they show: the document, live counts, the place, and one's own state."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.api.circulation import live_counts, read_bookings, read_loans
from app.bookings import queries as booking_queries
from app.bookings.schemas import BookingRead
from app.books.paging import Row
from app.books.schemas import Availability, BookRead
from app.branches import service as branches
from app.copies import queries as copy_queries
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.loans import queries as loan_queries
from app.loans.models import LoanStatus
from app.loans.schemas import LoanRead
from app.uploads import queries as upload_queries
from app.web.page import View

MANY = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """A book as a page shows it; `loan` and `booking` are the reader's own."""

    book: BookRead
    counts: Availability
    place: Copy | None
    loan: LoanRead | None
    booking: BookingRead | None
    has_cover: bool

    @property
    def author(self) -> str:
        """The first contributor as one speaks of him: catalogues file `Austen, Jane`."""
        name = self.book.contributors[0].name if self.book.contributors else ""
        family, comma, given = name.partition(", ")
        return f"{given} {family}" if comma and "," not in given else name

    @property
    def call_number(self) -> str:
        if self.place and self.place.call_number:
            return self.place.call_number
        return self.book.classifications[0].value if self.book.classifications else ""


def read(row: Row) -> BookRead:
    """A stored document as the schema has it."""
    members: dict[str, Any] = json.loads(row.document)
    return BookRead.model_validate({"id": row.id, "version": row.version, **members})


async def shown(session: AsyncSession, page: View, rows: Sequence[Row]) -> list[Shown]:
    """The books of one page, in eight statements at most however many they are."""
    ids = [row.id for row in rows]
    counts = await live_counts(session, ids) if ids else {}
    copies = await copy_queries.of_books(session, ids) if ids else {}
    loans, bookings = await own(session, page) if ids and page.who else ({}, {})
    pictured = await upload_queries.with_covers(session, ids) if ids else set()
    return [
        Shown(
            read(row),
            counts[row.id],
            _place(copies.get(row.id, ())),
            loans.get(row.id),
            bookings.get(row.id),
            row.id in pictured,
        )
        for row in rows
    ]


async def own(session: AsyncSession, page: View) -> tuple[dict[int, LoanRead], dict[int, BookingRead]]:
    """The reader's open loans and bookings, by book."""
    reader = page.me.user_id
    lent, _ = await loan_queries.page(session, reader_id=reader, status=LoanStatus.OPEN, cursor=None, limit=MANY)
    booked, _ = await booking_queries.page(session, reader_id=reader, status="open", cursor=None, limit=MANY)
    loans = {loan.book_id: loan for loan in await read_loans(session, lent, now=page.now)}
    return loans, {booking.book_id: booking for booking in await read_bookings(session, booked)}


async def branch_names(session: AsyncSession) -> dict[str, str]:
    return {branch.id: branch.name for branch in await branches.all_open(session)}


def _place(copies: Collection[Copy]) -> Copy | None:
    """Where to look for the book: a copy on the shelf, or any."""
    there = [copy for copy in copies if copy.status == CopyStatus.AVAILABLE]
    return next(iter(there or copies), None)
