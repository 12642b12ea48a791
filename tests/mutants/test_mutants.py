"""Planted bugs: each is a mistake somebody could make, and the tests of circulation must notice it."""

import sys
from pathlib import Path

import pytest

from tests.mutants.planting import Mutant, chosen, noticed, plant, seed_of, stands_once

BOOKINGS, LOANS = "app/bookings/service", "app/loans/service"
RACES = "tests/integration/races"
PLACES = f"{RACES}/test_places.py"
# In each run; the pipeline plants all of them each night.
SAMPLE = 5

MUTANTS = {
    "the last in the queue is served first": Mutant(
        "app/bookings/queries.py",
        ".order_by(Booking.priority, Booking.placed_at, Booking.id)\n        .limit(1)",
        ".order_by(Booking.priority, Booking.placed_at.desc(), Booking.id)\n        .limit(1)",
    ),
    "suspended bookings are served": Mutant(
        "app/bookings/queries.py",
        "return select(Booking).where(Booking.book_id == book_id, IS_WAITING)",
        "return select(Booking).where(Booking.book_id == book_id, Booking.status.in_(['waiting', 'suspended']))",
    ),
    "a change of a booking leaves no event": Mutant(
        f"{BOOKINGS}/handover.py",
        "    await audit.record(session, change, actor=context.actor, now=context.now, reason=reason)\n",
        "",
    ),
    "the fast path is taken for the verdict": Mutant(
        f"{BOOKINGS}/place.py",
        "    if copy is None:\n        await books.hold",
        "    if copy == 0:\n        await books.hold",
        PLACES,
    ),
    "the reader is not locked": Mutant(
        f"{BOOKINGS}/standing.py",
        "await users.hold(session, reader_id)",
        "await users.find(session, reader_id)",
        PLACES,
    ),
    "a promised copy is lent to anybody": Mutant(
        f"{LOANS}/lend.py", 'if "promised_to_another" not in lifted:', 'if "promised_to_another" in lifted:'
    ),
    "resuming does not look for a free copy": Mutant(
        f"{BOOKINGS}/change.py",
        "    await handover.settle(session, book_id=booking.book_id, context=context)\n",
        "",
    ),
    "a cancelled booking keeps its copy": Mutant(
        f"{BOOKINGS}/change.py", "if copy is not None and was_promised:", "if copy is None and was_promised:"
    ),
    "a copy stays where it was returned": Mutant(
        f"{BOOKINGS}/handover.py",
        "        _send(copy, copy.branch_id)\n",
        "        copy.status = CopyStatus.AVAILABLE\n",
    ),
    "a reader keeps two bookings in a merged book": Mutant(
        f"{LOANS}/merge.py", "in borrowers or booking.reader_id in kept:", "in borrowers:"
    ),
    "a loan leaves the reader's booking open": Mutant(
        f"{LOANS}/lend.py", "    if found.own_booking_id:\n", "    if not found:\n"
    ),
    "a closed day is a day like others": Mutant(
        "app/branches/calendar.py",
        "return self._end_of(next(self._open_days(wanted), wanted))",
        "return self._end_of(wanted)",
        "tests/unit/branches/test_calendar.py",
    ),
    "a lost copy that was found stays charged": Mutant(
        f"{LOANS}/dues.py", 'if entry.reason == "lost":', 'if entry.reason == "lost_fee":'
    ),
    "a reader is reminded of a loan that is closed": Mutant(
        f"{LOANS}/give_back.py", "    await letters.take_back(session, loan=loan)\n", ""
    ),
    "what was returned never fades": Mutant(
        "app/loans/fading.py", "values(reader_id=None))\n    return len(faded)\n\n\nasync def forget_scans",
        "values(reader_id=Loan.reader_id))\n    return len(faded)\n\n\nasync def forget_scans",
    ),
    "a recalled loan is due after its minimum": Mutant(
        f"{LOANS}/prolong.py", "min(loan.due_at, max(wanted, soonest))", "min(loan.due_at, wanted)"
    ),
    "a key may be used twice": Mutant(
        "app/idempotency/service.py",
        '    return Answer(found.status or 200, found.headers or {}, found.body or b"")',
        "    return None",
    ),
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", chosen(MUTANTS, SAMPLE, metafunc.config))


def test_every_bug_still_fits_the_code() -> None:
    for mutant in MUTANTS.values():
        assert stands_once(mutant), f"{mutant.file} has changed; plant this bug anew"


def test_the_tests_of_circulation_notice_a_planted_bug(
    name: str, tmp_path: Path, postgres_url: str, pytestconfig: pytest.Config
) -> None:
    mutant = MUTANTS[name]
    sys.stdout.write(f"seed {seed_of(pytestconfig)}\n")
    plant(mutant, tmp_path)
    options = ["--hypothesis-profile", "noticing"]
    options += [] if mutant.noticed_by == PLACES else ["-k", "not postgresql"]
    assert noticed(mutant, tmp_path, postgres_url, *options) == "", f"nobody noticed: {name}"
