"""The desk's judgement: one field, any code; who and what it is decides what happens.

A copy without a reader, or with the lock on returns, is taken back; with a reader it is lent to him. A card turns to
its reader. What a rule forbids becomes a question in place; the next scan means "leave it".
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from app.api.v1.endpoints.users import note_view, viewer_of
from app.auth.permissions import Permission
from app.bookings import service as bookings
from app.books import queries as book_queries
from app.copies import queries as copy_queries
from app.copies.models import Copy
from app.core.errors import AppError, Forbidden, NotFound
from app.core.schemas import Money
from app.loans import queries as loan_queries
from app.loans import service as loans
from app.loans.service import Override
from app.users import queries as user_queries
from app.users.models import User
from app.web.page import View

DONE, RETURNS, UNDO = "*DONE*", "*RETURN*", "*UNDO*"
SUGGESTED: Final = 6
_RUSSIAN: Final = "йцукенгшщзхъфывапролджэячсмитьбю.ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮ,"
_LATIN: Final = "qwertyuiop[]asdfghjkl;'zxcvbnm,./QWERTYUIOP{}ASDFGHJKL:\"ZXCVBNM<>?"
_LAYOUT: Final = str.maketrans(_RUSSIAN, _LATIN)
_LIFTED_BY: Final[dict[type[AppError], str]] = {
    bookings.CardExpired: "expired",
    bookings.ReaderBlocked: "blocked",
    bookings.NotForLoan: "not_for_loan",
    loans.LoanLimitReached: "limit",
    loans.PromisedToAnother: "promised_to_another",
}


class UnknownScan(NotFound):
    code, detail = "unknown_scan", "Unknown code {scanned}. Search by title, or add it as a copy."


@dataclass(frozen=True, slots=True)
class Scan:
    """What came in: the code, whose card lies on the desk, whether only returns are taken, and an answer."""

    code: str
    card: str
    is_locked: bool
    answer: str
    branch: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to a question; `code` stands in for what was scanned."""

    answer: str
    label: str
    code: str = ""


@dataclass(slots=True)
class Verdict:
    """What the desk says: `kind` is its colour, shape and sound; the stamp has three lines."""

    kind: str
    word: str
    title: str = ""
    about: str = ""
    stamp: tuple[str, str, str] | None = None
    card: str = ""
    is_locked: bool = False
    scan_id: str = ""
    slip: str = ""
    choices: list[Choice] = field(default_factory=list)
    code: str = ""


async def judge(session: AsyncSession, page: View, scan: Scan) -> Verdict:
    """Do what a scan means, in the caller's transaction.

    Raises:
        AppError: a rule forbids it; `refused` says what can be done.
    """
    if scan.code in {DONE, RETURNS}:
        return _commanded(page, scan)
    copy, reader = await _found(session, scan)
    if copy and reader and scan.answer not in {"reader", "copy"}:
        return _which(page, scan)
    if reader and scan.answer != "copy" and not scan.is_locked:
        return await _turn_to(session, page, scan, reader)
    if copy is None:
        return await _by_name(session, page, scan)
    if scan.card and not scan.is_locked:
        return await _with_reader(session, page, scan, copy)
    return await _take_back(session, page, scan, copy)


def _commanded(page: View, scan: Scan) -> Verdict:
    """The laminated codes: the next reader, and the lock on returns."""
    say = page.words.say
    if scan.code == DONE:
        return Verdict("plain", str(say("Next, please")), is_locked=scan.is_locked)
    return Verdict("plain", str(say("All back" if scan.is_locked else "Returns only")), is_locked=not scan.is_locked)


async def _found(session: AsyncSession, scan: Scan) -> tuple[Copy | None, User | None]:
    """The copy and the reader with this code; under a Russian layout a scanner sends other letters."""
    for code in dict.fromkeys((scan.code, scan.code.translate(_LAYOUT), scan.code.translate(_LAYOUT).swapcase())):
        copy = await copy_queries.find_by_barcode(session, code)
        reader = await user_queries.by_card(session, code)
        if copy or reader:
            return copy, reader
    return None, None


def _which(page: View, scan: Scan) -> Verdict:
    say = page.words.say
    choices = [Choice("reader", str(say("the reader"))), Choice("copy", str(say("the book")))]
    return Verdict("query", str(say("Which one?")), str(say("A card and a book have this number.")),
                   card=scan.card, choices=choices, code=scan.code)  # fmt: skip


async def _turn_to(session: AsyncSession, page: View, scan: Scan, reader: User) -> Verdict:
    if reader.card_number != scan.card:
        note_view(session, page.me, reader, "account", page.now)
    return Verdict("plain", reader.full_name, str(page.words.say("Scan the books now.")), card=reader.card_number)


async def _by_name(session: AsyncSession, page: View, scan: Scan) -> Verdict:
    """Readers whose name begins so, to choose from; for everything else the code is unknown."""
    if any(letter.isalpha() for letter in scan.code) and not any(letter.isdigit() for letter in scan.code):
        found, _ = await user_queries.page(
            session, viewer=viewer_of(page.me), q=scan.code, card_number=None, cursor=None, limit=SUGGESTED
        )
        for reader in found:
            note_view(session, page.me, reader, "list", page.now)
        if found:
            choices = [Choice("reader", f"{r.full_name} …{r.card_number[-3:]}", r.card_number) for r in found]
            return Verdict("query", str(page.words.say("Who is it?")), card=scan.card, choices=choices, code=scan.code)
    raise UnknownScan(scanned=scan.code)


async def _with_reader(session: AsyncSession, page: View, scan: Scan, copy: Copy) -> Verdict:
    context = await page.context(session)
    if scan.answer == "renew" and (loan := await loan_queries.open_of_copy(session, copy.id)):
        renewed = await loans.renew(session, loan_id=loan.id, is_mine=lambda _: True, context=context)
        return await _issued(session, page, copy, renewed.due_at, scan, word="Renewed")
    if scan.answer == "return":
        return await _take_back(session, page, scan, copy)
    if scan.answer == "return_and_issue":
        await loans.give_back(session, barcode=copy.barcode, branch_id=scan.branch, context=context)
    override = None
    if scan.answer.startswith("allow:"):
        if not page.may(Permission.OVERRIDE_RULES):
            raise Forbidden
        override = Override(frozenset(scan.answer.removeprefix("allow:").split(",")), "allowed at the desk")
    lent = await loans.lend(
        session, barcode=copy.barcode, card_number=scan.card, branch_id=scan.branch, override=override, context=context
    )
    return await _issued(session, page, copy, lent.loan.due_at, scan, scan_id=str(lent.scan_id))


async def _issued(session: AsyncSession, page: View, copy: Copy, due_at: datetime, scan: Scan, *, word: str = "Issued",
                  scan_id: str = "") -> Verdict:  # fmt: skip
    words = page.words
    month = words.short_day(due_at).split("\u00a0", 1)[1]
    stamp = (str(words.say("return by")), str(words.local(due_at).day), f"{month}, {words.weekday(due_at)}")
    title = await title_of(session, copy)
    return Verdict("ok", str(words.say(word)), title, copy.call_number or "", stamp, scan.card, scan_id=scan_id,
                   slip=f"/desk/slip?card={scan.card}")  # fmt: skip


async def _take_back(session: AsyncSession, page: View, scan: Scan, copy: Copy) -> Verdict:
    say, words = page.words.say, page.words
    returned = await loans.give_back(
        session, barcode=copy.barcode, branch_id=scan.branch, context=await page.context(session)
    )
    title = await title_of(session, copy)
    verdict = Verdict("back", str(say("Taken back")), title, copy.call_number or "", card=scan.card,
                      is_locked=scan.is_locked, scan_id=str(returned.scan_id or ""))  # fmt: skip
    if returned.charged_minor:
        owed = words.money(Money(amount_minor=returned.charged_minor, currency=page.settings.currency))
        verdict.about = str(say("late: {amount}", amount=owed))
    if returned.action == "hold_shelf" and returned.booking:
        reader = await user_queries.find(session, returned.booking.reader_id) if returned.booking.reader_id else None
        until = returned.booking.pickup_until
        mark = reader.card_number[-3:] if reader else ""
        verdict.kind, verdict.word = "hold", str(say("Hold shelf"))
        verdict.stamp = (
            str(say("card ends in")),
            mark,
            str(say("until {day}", day=words.short_day(until))) if until else "",
        )
        verdict.about = str(say("for {initials}", initials=initials(reader.full_name))) if reader else ""
        verdict.slip = f"/desk/slip?booking={returned.booking.id}"
    elif returned.action == "transfer":
        verdict.kind, verdict.word = "move", str(say("Send on"))
        verdict.stamp = (str(say("to")), (returned.to_branch or "").upper(), str(say("tray")))
    elif returned.loan is None:
        verdict.word, verdict.about = str(say("To the shelf")), copy.call_number or ""
    return verdict


async def refused(session: AsyncSession, page: View, scan: Scan, error: AppError) -> Verdict:
    """What stands in the way, the rule's sentence, and the answers that there are."""
    say = page.words.say
    copy, _ = await _found(session, scan)
    title = await title_of(session, copy) if copy else ""
    choices: list[Choice] = []
    kind, word = "stop", str(say("Not issued" if scan.card and copy else "Not possible"))
    if isinstance(error, loans.AlreadyOnLoan):
        kind, word = "query", str(say("He has it already"))
        choices = [Choice("renew", str(say("renew"))), Choice("return", str(say("return")))]
    elif isinstance(error, loans.CopyOnLoan):
        kind, word = "query", str(say("Another reader has it"))
        choices = [Choice("return_and_issue", str(say("return and issue"))), Choice("", str(say("leave it")))]
    elif (rule := _LIFTED_BY.get(type(error))) and page.may(Permission.OVERRIDE_RULES):
        already = scan.answer.removeprefix("allow:").split(",") if scan.answer.startswith("allow:") else []
        choices = [
            Choice(f"allow:{','.join([*already, rule])}", str(say("allow once"))),
            Choice("", str(say("leave it"))),
        ]
    return Verdict(kind, word, title or scan.code, page.words.refusal(error), card=scan.card, is_locked=scan.is_locked,
                   choices=choices, code=scan.code)  # fmt: skip


async def title_of(session: AsyncSession, copy: Copy) -> str:
    return (await book_queries.titles(session, [copy.book_id]))[copy.book_id]


def initials(name: str) -> str:
    return " ".join(f"{word[0]}." for word in name.split()[:3] if word)
