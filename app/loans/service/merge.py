"""Merging two books: copies, queue and loans of one go to the other, in one transaction."""

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import queries as booking_queries
from app.bookings import service as bookings
from app.bookings.context import Context
from app.bookings.models import Booking
from app.books import service as books
from app.copies.models import Copy
from app.loans import queries
from app.loans.models import Loan
from app.uploads import service as uploads


async def merge(session: AsyncSession, *, source_id: int, target_id: int, context: Context) -> None:
    """Merge a book into another. Locks both books against everybody (lower id first), then their copies.

    A reader with bookings for both keeps the earlier; one who has either on loan keeps none; the queue is one, by
    placed_at; free copies are handed out. The old id leads to the new one.

    Raises:
        BookNotFound, BookGone, BookMerged, MergeIntoItself.
    """
    source, target = await books.hold_pair(session, source_id=source_id, target_id=target_id)
    await _drop_doubles(session, source_id, target_id, context)
    for table in (Copy, Booking, Loan):
        await session.execute(update(table).where(table.book_id == source_id).values(book_id=target_id))
    await uploads.move(session, source_id=source_id, target_id=target_id)
    await books.absorb(session, source=source, target=target, now=context.now)
    change = Change("book_merged", book_id=source_id)
    await audit.record(session, change, actor=context.actor, now=context.now, data={"into": target_id})
    await session.flush()
    session.expire_all()
    await bookings.settle(session, book_id=target_id, context=context)


async def _drop_doubles(session: AsyncSession, source_id: int, target_id: int, context: Context) -> None:
    """Cancel bookings that the merged book could not hold: the later of two, and those of who has a copy on loan."""
    borrowers = await queries.borrowers_of(session, (source_id, target_id))
    kept: set[object] = set()
    for booking in await booking_queries.open_of_books(session, (source_id, target_id)):
        if booking.reader_id in borrowers or booking.reader_id in kept:
            await bookings.withdraw(session, booking=booking, context=context, reason="books merged")
        kept.add(booking.reader_id)
