"""A real SMTP server for tests: it keeps what it takes and answers as a test tells it to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope, Session

from app.core.config import Settings
from tests.servers import free_port

TAKEN = "250 OK"


class MailServer:
    """`letters` are those that were acknowledged; `on_recipient` and `on_letter` give the answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.letters: list[EmailMessage] = []
        self.logins: list[bytes] = []
        self.on_recipient: Callable[[str], str] = lambda _: TAKEN
        self.on_letter: Callable[[EmailMessage], str] = lambda _: TAKEN

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = self.on_recipient(address)
        if answer == TAKEN:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # its name
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=default)
        assert isinstance(letter, EmailMessage)
        # Before the answer: who is killed by it has still handed the letter over.
        self.letters.append(letter)
        answer = self.on_letter(letter)
        if answer != TAKEN:
            self.letters.remove(letter)
        return answer

    def addresses(self) -> list[str]:
        """To whom letters went, in the order in which they came."""
        return [letter["To"].addresses[0].addr_spec for letter in self.letters]

    def identities(self) -> list[str]:
        return [str(letter["Message-ID"]) for letter in self.letters]


@contextmanager
def mail_server(port: int | None = None, tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[MailServer]:
    """A server on this machine; `options` go to aiosmtpd."""
    server = MailServer(port or free_port())
    controller = Controller(
        server, hostname="127.0.0.1", port=server.port, ready_timeout=10, tls_context=tls, **options
    )
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def sending_to(settings: Settings, port: int, /, **changes: Any) -> Settings:
    """Settings of a service that sends its mail to a server on this machine."""
    mail = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_tls": "none", "email_from": "desk@library.test"}
    return settings.model_copy(update=mail | {"public_url": "https://library.test"} | changes)


@asynccontextmanager
async def tarpit(*lines: bytes, port: int | None = None) -> AsyncIterator[int]:
    """A server that answers these lines, one a command, and then keeps silent; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            writer.write(line + b"\r\n")
            await reader.readline()
        while await reader.read(1000):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port := port or free_port())
    async with server:
        yield port
