"""Sending: through a real SMTP server that takes, delays and refuses; nothing is lost and nothing goes out untrue."""

from datetime import timedelta
from email.message import EmailMessage

import pytest
from sqlalchemy import update

from app.core import mail
from app.core.config import Settings
from app.core.db import Database
from app.notifications import service as notifications
from app.notifications.models import Notice, State
from tests.integration.notifications.outbox import NOW, add_notices, add_reader, only_notice, send, states
from tests.mailserver import TAKEN, mail_server, sending_to
from tests.servers import free_port

pytestmark = pytest.mark.anyio

SOON = NOW + timedelta(seconds=50)
LATER = NOW + timedelta(minutes=2)


async def test_a_notice_arrives_once_in_the_readers_language(settings: Settings, database: Database) -> None:
    for name, locale in (("ada", "en"), ("anna", "ru")):
        reader_id = await add_reader(database, name, locale=locale)
        await add_notices(database, reader_id, 1, title="Ёж & <b>")
        with mail_server() as server:
            reached = sending_to(settings, server.port)
            assert (await send(database, reached)).counts == {("booking_ready", "sent"): 1}
            assert (await send(database, reached, now=LATER)).counts == {}
            [letter] = server.letters
        assert letter["To"] == f"{name}@library.test"
        assert letter["From"] == "Library <desk@library.test>"
        assert letter["Subject"] == f"{'Ready for you' if locale == 'en' else 'Можно забрать'}: Ёж & <b> 0"
        body = letter.get_body(("html",))
        assert body is not None
        assert "Ёж &amp; &lt;b&gt; 0" in body.get_content()
        notice = await only_notice(database)
        assert (notice.state, notice.payload, notice.last_error) == (State.SENT, {}, None)
        assert server.identities() == [f"<{notice.id}@library.test>"]
        async with database.transaction() as session:
            await notifications.forget(session, cause_prefix="booking_ready:")


async def test_what_is_no_longer_true_is_not_sent(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 3)
    with mail_server() as server:
        reached = sending_to(settings, server.port)
        sent = await send(database, reached, still_true=lambda notice: notice.cause != "booking_ready:1")
        assert sent.counts == {("booking_ready", "sent"): 2, ("booking_ready", "dropped"): 1}
        assert len(server.letters) == 2
    assert await states(database) == {"sent": 2, "dropped": 1}


async def test_a_delayed_letter_is_tried_again_after_its_pause_with_the_same_id(
    settings: Settings, database: Database
) -> None:
    await add_notices(database, await add_reader(database), 1)
    offered: list[str] = []

    def answer(letter: EmailMessage) -> str:
        offered.append(letter["Message-ID"])
        return "451 4.7.1 come back" if len(offered) == 1 else TAKEN

    with mail_server() as server:
        server.on_letter = answer
        reached = sending_to(settings, server.port)
        assert (await send(database, reached)).counts == {("booking_ready", "delayed"): 1}
        assert (await only_notice(database)).last_error == "451 4.7.1 come back"
        assert (await send(database, reached, now=SOON)).counts == {}
        assert (await send(database, reached, now=LATER)).counts == {("booking_ready", "sent"): 1}
    assert len(offered) == 2
    assert len(set(offered)) == 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("550 5.1.1 no such user", "failed"),
        ("550 no such user", "failed"),
        ("552 5.2.2 mailbox is full for ever", "failed"),
        ("450 4.2.1 mailbox is busy", "delayed"),
        ("554 5.7.1 relay access denied", "delayed"),
        ("550 5.3.4 the system can't", "delayed"),
    ],
)
async def test_only_what_speaks_of_the_letter_is_final(
    settings: Settings, database: Database, answer: str, result: str
) -> None:
    await add_notices(database, await add_reader(database), 1)
    with mail_server() as server:
        server.on_recipient = lambda _: answer
        assert (await send(database, sending_to(settings, server.port))).counts == {("booking_ready", result): 1}
    notice = await only_notice(database)
    assert (notice.last_error, bool(notice.payload)) == (answer, result == "delayed")


async def test_a_refused_reader_holds_nobody_up(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database, "gone"), 1)
    async with database.transaction() as session:
        await session.execute(update(Notice).values(cause="first"))
    await add_notices(database, await add_reader(database), 3)
    with mail_server() as server:
        server.on_recipient = lambda address: TAKEN if address.startswith("ada") else "550 5.1.1 gone"
        await send(database, sending_to(settings, server.port))
        assert server.addresses() == ["ada@library.test"] * 3
    assert await states(database) == {"sent": 3, "failed": 1}


async def test_a_poisoned_notice_holds_nobody_up_and_is_given_up_in_the_end(
    settings: Settings, database: Database
) -> None:
    await add_notices(database, await add_reader(database), 3)
    async with database.transaction() as session:
        poisoned = update(Notice).where(Notice.cause == "booking_ready:0")
        await session.execute(poisoned.values(payload={"title": "Dune", "pickup_until_on": "not a day"}))
    with mail_server() as server:
        reached = sending_to(settings, server.port)
        assert (await send(database, reached)).counts == {
            ("booking_ready", "sent"): 2,
            ("booking_ready", "delayed"): 1,
        }
        for day in range(1, 30):
            await send(database, reached, now=NOW + timedelta(days=day))
        assert len(server.letters) == 2
    assert await states(database) == {"sent": 2, "failed": 1}


async def test_without_a_mail_server_no_notice_is_touched_and_all_go_out_when_it_is_back(
    settings: Settings, database: Database
) -> None:
    await add_notices(database, await add_reader(database), 5)
    port = free_port()
    reached = sending_to(settings, port)
    for _ in range(30):
        down = await send(database, reached)
        assert down.trouble is not None
        assert "mail server can't be used" in down.trouble
        assert not down.counts
    with mail_server(port) as server:
        assert (await send(database, reached)).counts == {("booking_ready", "sent"): 5}
        assert len(server.letters) == 5


async def test_a_server_that_drops_connections_loses_no_letter(settings: Settings, database: Database) -> None:
    await add_notices(database, await add_reader(database), 20)
    offered: list[str] = []

    with mail_server() as server:

        def answer(letter: EmailMessage) -> str:
            offered.append(letter["Message-ID"])
            return "421 4.3.2 closing" if len(offered) % 3 == 0 else TAKEN

        server.on_letter = answer
        reached = sending_to(settings, server.port)
        for minutes in range(0, 600, 10):
            await send(database, reached, now=NOW + timedelta(minutes=minutes))
        assert len(server.letters) == len(set(server.identities())) == 20
    assert await states(database) == {"sent": 20}


async def test_many_letters_go_over_few_connections(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "LETTERS_A_CONNECTION", 4)
    await add_notices(database, await add_reader(database), 10)
    with mail_server() as server:
        assert (await send(database, sending_to(settings, server.port))).trouble is None
        assert len(server.letters) == 10


async def test_without_smtp_host_letters_go_to_the_console(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    await add_notices(database, await add_reader(database), 1)
    assert (await send(database, settings)).counts == {("booking_ready", "sent"): 1}
    written = capsys.readouterr()
    assert "ada@library.test" in written.err
    assert "“Dune 0” is waiting for you" in written.err
    assert not written.out
