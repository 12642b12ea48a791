"""Placing a booking: a copy that is free is promised at once, otherwise the reader takes his place in the queue."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.service import Change
from app.bookings import holding
from app.bookings.context import Context
from app.bookings.models import NORMAL_PRIORITY, Booking, BookingStatus
from app.bookings.service.standing import Reader, check_standing, hold_reader
from app.books import service as books
from app.branches import service as branches
from app.copies import queries as copies
from app.core import metrics
from app.core.db import on_commit
from app.core.errors import Conflict


class AlreadyBooked(Conflict):
    code, detail = "already_booked", "You have booked this book already."


class AlreadyBorrowed(Conflict):
    code, detail = "already_borrowed", "You have this book on loan; renew it instead."


class BookingLimitReached(Conflict):
    code, detail = "booking_limit_reached", "You have {limit} open bookings, which is the limit; cancel one first."


class NotForLoan(Conflict):
    code, detail = "not_for_loan", "The library's copies of this book are for use in the library only."


@dataclass(frozen=True, slots=True)
class Wish:
    """What a reader wants: any copy of a book, to be collected at a branch."""

    reader_id: UUID
    book_id: int
    pickup_branch: str
    priority: int = NORMAL_PRIORITY


async def place(
    session: AsyncSession, *, wish: Wish, has_on_loan: Callable[[], Awaitable[bool]], context: Context
) -> Booking:
    """Place a booking. Locks the reader; the book only when no copy is free at first sight; the copy that it gets.

    `has_on_loan` asks whether the reader has the book on loan; it is called under his lock. The booking is an
    object of nobody's session.

    Raises:
        ReaderNotFound, CardExpired, ReaderBlocked, BookNotFound, BookGone, UnknownBranch, AlreadyBooked,
        AlreadyBorrowed, BookingLimitReached, NotForLoan.
    """
    reader = await hold_reader(session, wish.reader_id)
    check_standing(reader, context=context)
    await branches.check_open(session, wish.pickup_branch)
    await books.share(session, book_id=wish.book_id)
    if await has_on_loan():
        raise AlreadyBorrowed
    booked = await holding.booked(session, wish.reader_id)
    if wish.book_id in booked:
        raise AlreadyBooked
    claim = partial(_claim, session, wish, reader, len(booked), context)
    copy = await claim(waits=False)
    if copy is None:
        await books.hold(session, book_id=wish.book_id)
        copy = await claim(waits=True)
    return await _write(session, wish, copy, context)


async def _claim(session: AsyncSession, wish: Wish, reader: Reader, has: int, context: Context, *, waits: bool) -> Any:
    """A free copy of the kinds that this reader may borrow, which are looked at each time: one may just be added."""
    kinds = await copies.kinds(session, wish.book_id)
    allowed = [
        (item_type, branch)
        for item_type, branch in kinds
        if context.rules.may_borrow(category=reader.category, item_type=item_type, branch=branch)
    ]
    if kinds and not allowed:
        raise NotForLoan
    item_type = allowed[0][0] if allowed else "book"
    terms = context.rules.terms(category=reader.category, item_type=item_type, branch=wish.pickup_branch)
    if has >= terms.booking_limit:
        raise BookingLimitReached(limit=terms.booking_limit)
    return await copies.claim(
        session, book_id=wish.book_id, kinds=allowed, prefer_branch=wish.pickup_branch, waits=waits
    )


async def _write(session: AsyncSession, wish: Wish, copy: Any, context: Context) -> Booking:
    booking = Booking(
        id=uuid_utils.uuid7(),
        reader_id=wish.reader_id,
        book_id=wish.book_id,
        copy_id=copy.id if copy else None,
        pickup_branch_id=wish.pickup_branch,
        priority=wish.priority,
        status=BookingStatus.ALLOCATED if copy else BookingStatus.WAITING,
        # Whoever waits has locked the book and takes the next place; whoever got a copy jumps nobody.
        placed_at=copy.claimed_at if copy else await holding.next_place(session, wish.book_id),
    )
    await holding.write(session, booking)
    change = Change(
        "booking_placed",
        book_id=wish.book_id,
        copy_id=booking.copy_id,
        booking_id=booking.id,
        branch_id=wish.pickup_branch,
    )
    await audit.record(session, change, actor=context.actor, now=context.now, data={"status": booking.status})
    on_commit(session, metrics.bookings_created_total.inc)
    return booking
