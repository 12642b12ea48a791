"""What piles up in years, written at once: a reader's loans, a book's queue."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import uuid_utils.compat as uuid_utils
from sqlalchemy import insert

from app.bookings.models import NORMAL_PRIORITY, Booking, BookingStatus
from app.copies.models import Copy
from app.copies.statuses import CopyStatus
from app.core.db import Database
from app.loans.models import Loan, LoanStatus
from app.policies.rules import BUILT_IN
from app.users.models import Role, User


async def loans(database: Database, reader_id: UUID, book_id: int, *, open_: int, returned: int) -> None:
    """Loans of one reader, each of a copy of its own; those returned ended a week ago."""
    now = datetime.now(UTC)
    total = open_ + returned
    statuses = [CopyStatus.ON_LOAN] * open_ + [CopyStatus.AVAILABLE] * returned
    async with database.transaction() as session:
        copies = await session.scalars(
            insert(Copy).returning(Copy.id, sort_by_parameter_order=True),
            [
                {
                    "version": 1, "book_id": book_id, "barcode": f"past-{number}", "branch_id": "main",
                    "at_branch_id": "main", "item_type": "book", "status": statuses[number], "created_at": now,
                }
                for number in range(total)
            ],
        )  # fmt: skip
        rows = [
            {
                "id": uuid_utils.uuid7(), "copy_id": copy_id, "book_id": book_id, "reader_id": reader_id,
                "branch_id": "main", "status": LoanStatus.OPEN if number < open_ else LoanStatus.RETURNED,
                "checked_out_at": now - timedelta(days=14), "due_at": now + timedelta(days=14),
                "returned_at": None if number < open_ else now - timedelta(days=7), "renewals": 0,
                "terms": asdict(BUILT_IN),
            }
            for number, copy_id in enumerate(copies)
        ]  # fmt: skip
        await session.execute(insert(Loan), rows)


async def queue(database: Database, book_id: int, length: int) -> None:
    """Readers who have waited for a book since yesterday, a second apart."""
    since = datetime.now(UTC) - timedelta(days=1)
    readers = [uuid_utils.uuid7() for _ in range(length)]
    people = [
        {
            "id": reader_id, "version": 1, "pseudonym": uuid4(), "email": f"{reader_id}@library.test",
            "password_hash": "never used", "full_name": "A reader", "name_key": "a reader", "role": Role.READER,
            "locale": "en", "card_number": str(uuid4().int)[:24], "category": "adult", "keeps_history": False,
            "created_at": since,
        }
        for reader_id in readers
    ]  # fmt: skip
    bookings = [
        {
            "id": uuid_utils.uuid7(), "reader_id": reader_id, "book_id": book_id, "pickup_branch_id": "main",
            "priority": NORMAL_PRIORITY, "status": BookingStatus.WAITING,
            "placed_at": since + timedelta(seconds=number),
        }
        for number, reader_id in enumerate(readers)
    ]  # fmt: skip
    async with database.transaction() as session:
        await session.execute(insert(User), people)
        await session.execute(insert(Booking), bookings)
