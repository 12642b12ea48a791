"""Erasing an account: nothing that stays leads to the person, also not after a backup was restored.

1. Under the account's lock: refuse while loans are open or money is.
2. Open bookings are cancelled; their copies go to whoever is next.
3. Loans and bookings lose their reader, money its loan, and whatever was typed about them its words.
4. The account is deleted, with sessions, keys, answers, notices and documents; what stays bears a pseudonym that
   nothing explains any more, and an outbox row says which.
5. After the commit the pseudonym goes to the erasure ledger outside the database, then the outbox row goes too.

`replay` does 1 to 4 again for every pseudonym of that ledger which a restored database still knows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.models import AuditEntry, Event
from app.audit.service import SYSTEM, Change
from app.auth.models import MailToken
from app.bookings import service as bookings
from app.bookings.context import Context
from app.bookings.models import OPEN, Booking
from app.charges import service as charges
from app.copies.models import Copy
from app.core.db import Database
from app.core.errors import Conflict
from app.core.storage import Storage
from app.core.versioning import IfMatch, compare
from app.erasure import queries
from app.erasure.models import Erasure
from app.erasure.schemas import PersonalData
from app.idempotency import service as idempotency
from app.loans import service as loans
from app.loans.models import Loan, LoanStatus, Scan
from app.policies import service as policies
from app.uploads import service as uploads
from app.users import queries as users
from app.users import service as accounts
from app.users.models import User

FOLDER: Final = "erasures"


class LoansOpen(Conflict):
    code, detail = "loans_open", "Return what is on loan first: {loans} items."


class BalanceNotZero(Conflict):
    code, detail = "balance_not_zero", "Settle the account first; the balance is {balance_minor} minor units."


async def export(session: AsyncSession, *, user_id: UUID, now: datetime) -> PersonalData:
    """Everything about an account.

    Raises:
        UserNotFound.
    """
    user = await users.find(session, user_id)
    if user is None:
        raise accounts.UserNotFound
    found = await queries.everything(session, user)
    return PersonalData.model_validate({"exported_at": now, "account": await accounts.read(session, user), **found})


async def erase(session: AsyncSession, *, user_id: UUID, context: Context, if_match: IfMatch = None) -> list[str]:
    """Erase an account; gives the files to delete after the commit. Locks the reader, then books and copies.

    Raises:
        UserNotFound, VersionChanged, LastAdmin, LoansOpen, BalanceNotZero.
    """
    admins = await users.lock_admins(session)
    user = await users.locked(session, user_id)
    if user is None:
        raise accounts.UserNotFound
    current = await accounts.read(session, user)
    compare(user.version, if_match, lambda: current)
    if list(admins) == [user.id]:
        raise accounts.LastAdmin
    lent = await _loans_of(session, user)
    if is_open := sum(loan.status == LoanStatus.OPEN for loan in lent):
        raise LoansOpen(loans=is_open)
    balance_minor = await charges.balance(session, subject=user.pseudonym)
    if balance_minor:
        raise BalanceNotZero(balance_minor=balance_minor)
    return await _erase(session, user, lent, context)


async def hand_over(database: Database, storage: Storage) -> int:
    """Write erased pseudonyms to the ledger outside the database, then forget them here; gives how many. Idempotent.

    Raises:
        StorageUnavailable.
    """
    async with database.reading() as session:
        waiting = list(await session.scalars(select(Erasure)))
    for row in waiting:
        await storage.put(f"{FOLDER}/{row.pseudonym}", f"{row.erased_at.isoformat()}\n".encode())
        async with database.transaction() as session:
            await session.execute(delete(Erasure).where(Erasure.pseudonym == row.pseudonym))
    return len(waiting)


async def replay(database: Database, storage: Storage, *, timezone: str, now: datetime) -> tuple[int, int]:
    """Erase again whoever the ledger names and a restored database still knows; gives how many are named and were.

    What was on loan or owed in the backup had been settled before the account was erased: the loans are closed as
    returned where they were lent, and the account is evened out.

    Raises:
        StorageUnavailable.
    """
    named = erased = 0
    async for stored in storage.listed(FOLDER):
        named += 1
        pseudonym = UUID(stored.name.rpartition("/")[2])
        files: list[str] = []
        async with database.transaction() as session:
            user_id = await users.behind(session, pseudonym)
            if user_id is not None:
                context = Context(now, SYSTEM, await policies.rulebook(session), timezone)
                files = await _erase_again(session, user_id, context)
                erased += 1
        await storage.delete(files)
    return named, erased


async def _erase_again(session: AsyncSession, user_id: UUID, context: Context) -> list[str]:
    await bookings.hold_reader(session, user_id)
    user = await session.get_one(User, user_id)
    lent = await _loans_of(session, user)
    for loan in lent:
        if loan.status == LoanStatus.OPEN:
            copy = await session.get_one(Copy, loan.copy_id)
            await loans.give_back(session, barcode=copy.barcode, branch_id=loan.branch_id, context=context)
    await _even_out(session, user, context)
    files = await _erase(session, user, lent, context)
    await session.execute(delete(Erasure).where(Erasure.pseudonym == user.pseudonym))
    return files


async def _even_out(session: AsyncSession, user: User, context: Context) -> None:
    balance_minor = await charges.balance(session, subject=user.pseudonym)
    if not balance_minor:
        return
    settle, kind = (charges.waive, "charge_waived") if balance_minor > 0 else (charges.refund, "charge_refunded")
    await settle(session, subject=user.pseudonym, amount_minor=abs(balance_minor), now=context.now, actor=None)
    await audit.record(session, Change(kind), actor=context.actor, now=context.now, subject=user.pseudonym)


async def _loans_of(session: AsyncSession, user: User) -> Sequence[Loan]:
    """In the order in which their books may be locked."""
    return (await session.scalars(select(Loan).where(Loan.reader_id == user.id).order_by(Loan.book_id))).all()


async def _erase(session: AsyncSession, user: User, lent: Sequence[Loan], context: Context) -> list[str]:
    booked = (
        await session.scalars(select(Booking).where(Booking.reader_id == user.id).order_by(Booking.book_id))
    ).all()
    for booking in booked:
        if booking.status in OPEN:
            await bookings.cancel(session, booking_id=booking.id, is_mine=lambda _: True, context=context)
    await session.flush()
    await _forget_words(session, user)
    await _forget_scans(session, [*lent, *booked])
    await session.execute(update(Loan).where(Loan.reader_id == user.id).values(reader_id=None))
    await session.execute(update(Booking).where(Booking.reader_id == user.id).values(reader_id=None))
    files = await uploads.forget_owner(session, owner_id=user.id)
    words = (str(user.id), user.email, user.card_number, user.full_name)
    await idempotency.forget_answers(session, words=words)
    await session.execute(delete(MailToken).where(MailToken.payload["email"].as_string() == user.email))
    audit.note(session, "account_erased", actor=context.actor, subject=user.pseudonym, now=context.now)
    session.add(Erasure(pseudonym=user.pseudonym, erased_at=context.now))
    await session.delete(user)
    await session.flush()
    return files


async def _forget_words(session: AsyncSession, user: User) -> None:
    """Empty what somebody typed about the reader: reasons in the trail, notes in the ledger; and money's loans."""
    his_loans = select(Loan.id).where(Loan.reader_id == user.id)
    his_bookings = select(Booking.id).where(Booking.reader_id == user.id)
    # The copies and books are what the events are indexed by.
    changes = select(Event.change_id).where(
        or_(
            Event.copy_id.in_(select(Loan.copy_id).where(Loan.reader_id == user.id)) & Event.loan_id.in_(his_loans),
            Event.book_id.in_(select(Booking.book_id).where(Booking.reader_id == user.id))
            & Event.booking_id.in_(his_bookings),
        )
    )
    about = or_(AuditEntry.subject == user.pseudonym, AuditEntry.id.in_(changes))
    await session.execute(update(AuditEntry).where(AuditEntry.reason.is_not(None), about).values(reason=None))
    await charges.forget_subject(session, subject=user.pseudonym)


async def _forget_scans(session: AsyncSession, touched: Sequence[Loan | Booking]) -> None:
    """Delete what would undo a scan of his: there is nobody left to undo it for. Scans are kept for a day."""
    ids = {str(row.id) for row in touched}
    for scan in await session.scalars(select(Scan)):
        known = {(scan.before.get("loan") or {}).get("id"), (scan.before.get("booking") or {}).get("id")}
        if known & ids:
            await session.delete(scan)
