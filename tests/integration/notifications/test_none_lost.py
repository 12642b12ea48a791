"""Many notices, several senders, bad servers and kills: none is lost, and a crash makes at most one twin."""

import asyncio
import os
import signal
from collections import Counter
from datetime import timedelta
from email.message import EmailMessage

import pytest
from sqlalchemy import func, select, update

from app.core import mail
from app.core.config import Settings
from app.core.db import Database
from app.notifications import service as notifications
from app.notifications.models import Kind, Notice, State
from tests import evidence
from tests.integration.commands.command_line import CommandLine
from tests.integration.notifications.outbox import NOW, add_notices, add_reader, send, states
from tests.mailserver import TAKEN, MailServer, mail_server, sending_to, tarpit
from tests.servers import free_port

pytestmark = pytest.mark.anyio

# FULL=1 takes the size that reliability goal R10 names.
MANY = 100_000 if os.environ.get("FULL") else 2_000
SENDERS = 4
CRASHES = 3


async def make_due(database: Database) -> None:
    """Let the pauses between attempts pass."""
    async with database.transaction() as session:
        await session.execute(update(Notice).where(Notice.state == State.PENDING).values(next_attempt_at=NOW))


async def test_four_processes_at_once_send_each_notice_once(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 120, kind=Kind.BOOKING_EXPIRED)
    with mail_server() as server:
        reached = sending_to(settings, server.port)
        runs = [asyncio.to_thread(CommandLine.of(reached).run, "job", "run", "send_notices") for _ in range(SENDERS)]
        finished = await asyncio.gather(*runs)
        assert [run.returncode for run in finished] == [0] * SENDERS, finished
        assert Counter(server.identities()).most_common(1)[0][1] == 1
        assert len(server.letters) == 120
    assert await states(database) == {"sent": 120}


async def test_a_killed_sender_makes_one_twin_with_the_same_id_and_loses_nothing(
    settings: Settings, database: Database
) -> None:
    await add_notices(database, await add_reader(database), 30, kind=Kind.BOOKING_EXPIRED)
    with mail_server() as server:
        reached = sending_to(settings, server.port)
        process = CommandLine.of(reached).start("job", "run", "send_notices")

        def kill_at_the_seventh(letter: EmailMessage) -> str:
            if len(server.letters) == 7:
                process.send_signal(signal.SIGKILL)
                process.wait()
            return TAKEN

        server.on_letter = kill_at_the_seventh
        await asyncio.to_thread(process.communicate)
        assert process.returncode == -signal.SIGKILL
        assert await states(database) == {"sent": 6, "pending": 24}
        assert (await send(database, reached)).counts == {("booking_expired", "sent"): 23}, "its pause isn't over yet"

        await make_due(database)
        assert (await send(database, reached)).counts == {("booking_expired", "sent"): 1}
        arrived = Counter(server.identities())
    assert len(arrived) == 30
    assert sorted(arrived.values()) == [1] * 29 + [2]
    assert server.letters[6]["Message-ID"] == server.letters[-1]["Message-ID"]


async def test_a_stopped_sender_finishes_its_letter_and_leaves_no_twin(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 10)
    third = asyncio.Event()
    loop = asyncio.get_running_loop()

    with mail_server() as server:

        def wait_at_the_third(letter: EmailMessage) -> str:
            if len(server.letters) == 3:
                loop.call_soon_threadsafe(third.set)
            return TAKEN

        server.on_letter = wait_at_the_third
        reached = sending_to(settings, server.port)
        run = asyncio.create_task(send(database, reached))
        await third.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        sent = len(server.letters)
        assert await states(database) == {"sent": sent, "pending": 10 - sent}
        await make_due(database)
        await send(database, reached)
        assert len(server.letters) == len(set(server.identities())) == 10


@pytest.mark.timeout(7_200 if os.environ.get("FULL") else 420)
async def test_no_notice_is_lost_while_the_server_is_down_mute_bad_and_senders_crash(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reliability goal R10: none lost, nothing twice but one twin at most for each crash, under the same Message-ID."""
    monkeypatch.setattr(mail, "STEP_TIMEOUT_SECONDS", 0.3)
    await add_notices(database, await add_reader(database), MANY, kind=Kind.BOOKING_EXPIRED)
    port = free_port()
    reached = sending_to(settings, port)
    down = await send(database, reached)
    async with tarpit(b"220 hello", b"250 hello", port=port):
        mute = await send(database, reached)
    assert (down.counts.total(), mute.counts.total()) == (0, 3)
    monkeypatch.undo()

    with mail_server(port) as server:
        for _ in range(CRASHES):
            await make_due(database)
            await crash(server, reached)
        await make_due(database)
        await pass_through_a_bad_server(server, database, reached)
        arrived = Counter(server.identities())
    refused = MANY // 100 - 1  # numbers that end in two zeros; the first has one
    twins = {identity: count for identity, count in arrived.items() if count > 1}
    ended = await states(database)
    evidence.keep(
        "R10", database.url.get_backend_name(), value=MANY - refused - len(arrived), limit=0, size=MANY,
        crashes=CRASHES, twins=len(twins), refused_for_good=ended["failed"],
    )  # fmt: skip
    assert ended == {"sent": MANY - refused, "failed": refused}
    assert len(arrived) == MANY - refused
    assert len(twins) <= CRASHES
    assert set(twins.values()) <= {2}
    async with database.reading() as session:
        most = await session.scalar(select(func.max(Notice.attempts)))
        kept = await session.scalar(select(func.count()).where(Notice.payload != {}))
    assert most is not None
    assert 1 < most < notifications.MAX_ATTEMPTS
    assert kept == 0, "the facts of letters that are done with are not kept"


async def crash(server: MailServer, reached: Settings) -> None:
    """Start a sender and kill it between the letter that it hands over and the note that it did."""
    process = CommandLine.of(reached).start("job", "run", "send_notices")
    last = len(server.letters) + 7

    def kill_at_the_last(letter: EmailMessage) -> str:
        if len(server.letters) == last:
            process.send_signal(signal.SIGKILL)
            process.wait()
        return answer_of(letter)

    server.on_letter = kill_at_the_last
    await asyncio.to_thread(process.communicate)
    assert process.returncode == -signal.SIGKILL


async def pass_through_a_bad_server(server: MailServer, database: Database, reached: Settings) -> None:
    """Every tenth answer is a delay or a hang-up, every hundredth letter is refused; four senders share the work."""
    answers = Counter[str]()

    def answer(letter: EmailMessage) -> str:
        answers["all"] += 1
        return {3: "451 4.3.0 later", 7: "421 4.3.2 closing"}.get(answers["all"] % 20, answer_of(letter))

    server.on_letter = answer
    senders = [Database(reached) for _ in range(SENDERS)]
    for round_ in range(200):
        now = NOW + timedelta(minutes=10 * round_)
        await asyncio.gather(*(send(each, reached, now=now) for each in senders))
        if not (await states(database))["pending"]:
            break
    for each in senders:
        await each.close()


def answer_of(letter: EmailMessage) -> str:
    return "554 5.6.0 we don't like it" if letter["Subject"].endswith("00") else TAKEN
