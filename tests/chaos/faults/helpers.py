"""Faults of helpers: Redis, the mail server, the provider of other libraries' records. Nobody outside notices."""

import asyncio
import signal
import ssl
import time
from datetime import UTC, datetime, timedelta

import httpx2

from app.auth.service import sessions
from app.core.db import Database
from tests.chaos import inside
from tests.chaos.fault import fault
from tests.chaos.load import Load
from tests.chaos.site import PORTS, REDIS_PORT, Site
from tests.integration.commands.command_line import COMMAND
from tests.mailserver import TAKEN, mail_server, tarpit
from tests.tokens import librarian

HARM_SECONDS = 4.0
LONG_SECONDS = 60.0
LOOKUP_PORT = 8089
LOOKUP_SECONDS = 10.0


def _lasts(site: Site) -> float:
    return LONG_SECONDS if site.is_full else HARM_SECONDS


@fault("Redis killed", lasts=90)
async def redis_killed(site: Site, _load: Load) -> None:
    await site.parts["redis"].end(signal.SIGKILL)
    await asyncio.sleep(_lasts(site))
    await site.start_redis().wait_for_port(REDIS_PORT)


@fault("Redis hangs", is_quick=True, lasts=90)
async def redis_hangs(site: Site, _load: Load) -> None:
    site.parts["redis"].hang(hanging=True)
    await asyncio.sleep(_lasts(site))
    site.parts["redis"].hang(hanging=False)


@fault("Redis emptied, again and again")
async def redis_emptied(site: Site, _load: Load) -> None:
    for _ in range(5):
        await site.parts["redis"].end(signal.SIGKILL)
        await site.start_redis().wait_for_port(REDIS_PORT)
        await asyncio.sleep(0.5)


async def _with_redis(site: Site, *options: str) -> None:
    await site.parts["redis"].end(signal.SIGKILL)
    await site.start_redis(*options).wait_for_port(REDIS_PORT)
    await asyncio.sleep(_lasts(site))
    await site.parts["redis"].end(signal.SIGKILL)
    await site.start_redis().wait_for_port(REDIS_PORT)


@fault("Redis full", lasts=90)
async def redis_full(site: Site, _load: Load) -> None:
    await _with_redis(site, "--maxmemory", "1", "--maxmemory-policy", "noeviction")


@fault("Redis read-only", lasts=90)
async def redis_read_only(site: Site, _load: Load) -> None:
    await _with_redis(site, "--replicaof", "127.0.0.1", "1")


@fault("mail server down, mute, refusing, failing", lasts=150)
async def mail_fails(site: Site, _load: Load) -> str:
    """No letter is lost and none comes twice, and no reader waits for the post."""
    await _send(site, SMTP_PORT=str(9))
    async with tarpit(b"220 hello", b"250 hello") as port:
        await _send(site, SMTP_PORT=str(port), is_stuck=True)
    seen = 0

    def answer(_letter: object) -> str:
        nonlocal seen
        seen += 1
        return ("451 4.3.0 later", "421 4.3.2 closing", TAKEN)[seen % 3]

    site.mail.on_letter = answer
    await _send(site)
    site.mail.on_letter = lambda _: TAKEN
    await _send(site)
    arrived = site.mail.identities()
    assert len(arrived) == len(set(arrived)), "letters came twice"
    return f"{len(arrived)} letters arrived, none twice"


async def _send(site: Site, *, is_stuck: bool = False, **changes: str) -> None:
    """Run the sender once, as the scheduler does; one that is stuck is killed after a while."""
    environment = site.environment(DATA_DIR=str(site.folder / "scheduler"), **changes)
    part = site.start("sender", [*COMMAND, "job", "run", "send_notices"], environment)
    try:
        async with asyncio.timeout(HARM_SECONDS if is_stuck else LONG_SECONDS):
            await asyncio.to_thread(part.process.wait)
    except TimeoutError:
        await part.end(signal.SIGKILL)
        assert is_stuck, "the sender did not end"
    del site.parts["sender"]


@fault("mail server's certificate is not to be trusted", lasts=90)
async def mail_untrusted(site: Site, _load: Load) -> str:
    """Nothing is handed to it."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(site.folder / "secrets" / "tls" / "ecdsa.crt", site.folder / "secrets" / "tls" / "ecdsa.key")
    with mail_server(tls=tls, require_starttls=True) as stranger:
        await _send(site, SMTP_PORT=str(stranger.port), SMTP_TLS="starttls")
        assert not stranger.letters, "letters went to a server that nobody can trust"
    return "no letter was handed over"


@fault("provider of records slow and hostile", may_fail="writes", lasts=90, restarts=True)
async def provider_hostile(site: Site, _load: Load) -> str:
    """It sends a byte now and then, for ever; whoever asked it is told so soon, and nobody else notices."""

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n<")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.2)
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", LOOKUP_PORT):
        await site.parts["api-2"].end()
        await site.start_service("api-2", ISBN_LOOKUP_URLS=f"http://127.0.0.1:{LOOKUP_PORT}/sru?q={{isbn}}")
        cookie = await _librarian(site)
        began = time.monotonic()
        async with httpx2.AsyncClient(timeout=30, headers={"Host": inside.HOST, "Cookie": cookie}) as desk:
            url = f"http://127.0.0.1:{PORTS['api-2']}/cataloguing/new?isbn=9780441013593"
            answers = [answer.status_code for answer in await asyncio.gather(*(desk.get(url) for _ in range(5)))]
        seconds = time.monotonic() - began
        await site.parts["api-2"].end()
    await site.start_service("api-2")
    assert seconds <= LOOKUP_SECONDS, f"the desk waited {seconds:.1f} s for it"
    assert set(answers) == {httpx2.codes.OK}, answers
    return f"the desk had its empty form after {seconds:.1f} s"


async def _librarian(site: Site) -> str:
    """The cookie of one who is signed in to the pages."""
    database, now = Database(site.settings), datetime.now(UTC)
    user = await librarian(database)
    async with database.transaction() as session:
        value = await sessions.open_cookie_session(session, user=user, life=timedelta(days=1), now=now)
    await database.close()
    return f"__Host-{site.settings.session_cookie_name}={value}"
