"""Mail: messages that can't be bent by what stands in them, and the carrier that hands them to SMTP or the console."""

import asyncio
import contextlib
import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from types import MappingProxyType
from typing import Final, Self

import aiosmtplib
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import Settings
from app.core.db import on_commit
from app.core.tasks import end

log = structlog.get_logger()

STEP_TIMEOUT_SECONDS: Final = 10
LETTER_TIMEOUT_SECONDS: Final = 40
LETTERS_A_CONNECTION: Final = 100
MAX_WAITING: Final = 1_000
PAUSES_SECONDS: Final = (1, 5, 25)
CLOSING_SECONDS: Final = 5
SUBJECT_CHARACTERS: Final = 200
REPLY_CHARACTERS: Final = 300
# RFC 3463: 5.3, 5.5 and 5.7 speak of the system, the protocol and the policy, so of us and not of this letter.
_ABOUT_US: Final = re.compile(r"\s*5\.[357]\.\d")


class MailError(Exception):
    """A letter was not taken; `str()` is what the server or the network said, which may name the addressee."""


class ServerUnavailable(MailError):
    """No letter can be handed over at all: nobody listens, TLS or the login fails."""


class Undelivered(MailError):
    """The letter was not taken now and may be later. `is_silent`: the server gave no answer to it at all."""

    def __init__(self, reason: str, *, is_silent: bool = False) -> None:
        super().__init__(reason)
        self.is_silent = is_silent


class Refused(MailError):
    """The letter will never be taken: no such mailbox, or contents that the server refuses."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to one person; `html` is a second form of the same text, with everything foreign in it escaped."""

    to: str
    subject: str
    text: str
    html: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def one_line(text: str) -> str:
    """The text without control characters and line breaks of any script, which could begin a header of their own."""
    printable = (" " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character for character in text)
    return " ".join("".join(printable).split())


def shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"


def message_id(settings: Settings, unique: str) -> str:
    """The Message-ID of the letter that `unique` stands for: the same at every attempt."""
    return f"<{unique}@{settings.email_from.rpartition('@')[2]}>"


def compose(settings: Settings, letter: Letter, *, identity: str, now: datetime) -> EmailMessage:
    """The letter as a message; `identity` is its Message-ID.

    Raises:
        Refused: the address can't be one.
    """
    message = EmailMessage(policy=SMTP)
    sender = one_line(settings.email_from_name or settings.project_name)
    message["From"] = _address(settings.email_from, sender)
    message["To"] = _address(letter.to)
    message["Subject"] = shortened(one_line(letter.subject), SUBJECT_CHARACTERS)
    message["Date"] = format_datetime(now.astimezone(UTC))
    message["Message-ID"] = identity
    # RFC 3834: no out-of-office note comes back for it.
    message["Auto-Submitted"] = "auto-generated"
    for name, value in letter.headers.items():
        message[name] = one_line(value)
    message.set_content(letter.text)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    return message


class Carrier:
    """Hands messages over, one after another, on a connection that is opened when it is needed.

    Without SMTP_HOST it writes them to the console (stderr: stdout belongs to logs and results).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: aiosmtplib.SMTP | None = None
        self._delivered = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Make sure that the server listens and lets us in; cheap if it did before.

        Raises:
            ServerUnavailable.
        """
        if not self._settings.smtp_host or (self._server is not None and self._server.is_connected):
            return
        server = _client(self._settings)
        try:
            async with asyncio.timeout(LETTER_TIMEOUT_SECONDS):
                await server.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            server.close()
            raise ServerUnavailable(_said(error)) from error
        except asyncio.CancelledError:
            server.close()
            raise
        self._server, self._delivered = server, 0

    async def deliver(self, message: EmailMessage) -> None:
        """Hand over one message; when it returns, the server has taken it. Takes 50 s at most.

        Raises:
            ServerUnavailable, Undelivered, Refused.
        """
        await self.connect()
        if self._server is None:
            _print(message)
            return
        try:
            async with asyncio.timeout(LETTER_TIMEOUT_SECONDS):
                await self._server.send_message(message)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise await self._trouble(error) from error
        self._delivered += 1
        if self._delivered >= LETTERS_A_CONNECTION:  # many servers end longer ones in the middle of a letter
            await self.close()

    async def close(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        try:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await server.quit(timeout=1)
        finally:  # also when the farewell is cut short because the service stops
            server.close()

    async def _trouble(self, error: aiosmtplib.SMTPException | OSError) -> MailError:
        """What the error means for the letter; where the server's state is in doubt the connection is given up."""
        said = _said(error)
        answers = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
        answer = answers[0]
        if isinstance(answer, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError):
            is_final = answer.code >= 500 and not _ABOUT_US.match(answer.message)  # noqa: PLR2004  # SMTP's border
            return Refused(said) if is_final else Undelivered(said)
        if self._server is not None:
            self._server.close()
            self._server = None
        return Undelivered(said, is_silent=True)


class Mailer:
    """Letters that wait for nobody: sent beside the requests after the commit; lost if the process dies.

    What must not be lost is a notice (app/notifications). `address` is what links in letters begin with.
    """

    def __init__(self, settings: Settings) -> None:
        self.address = settings.address
        self._settings = settings
        self._waiting: asyncio.Queue[Letter] = asyncio.Queue(MAX_WAITING)
        self._worker: asyncio.Task[None] | None = None

    async def post(self, session: AsyncSession, letter: Letter) -> None:
        """Send the letter once the session's transaction has committed; never if it rolls back."""
        on_commit(session, lambda: self._enqueue(letter))

    async def close(self) -> None:
        """Wait a little for what is still to be sent, then stop."""
        if self._worker is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._waiting.join()
        await end(self._worker)

    def _enqueue(self, letter: Letter) -> None:
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        if self._waiting.full():
            log.error("mail_dropped", reason="too many letters are waiting", waiting=MAX_WAITING)
            return
        self._waiting.put_nowait(letter)

    async def _work(self) -> None:
        async with Carrier(self._settings) as carrier:
            while True:
                letter = await self._waiting.get()
                try:
                    await self._send(carrier, letter)
                except MailError as error:  # its text may name the addressee
                    log.error("mail_failed", reason=type(error).__name__)  # noqa: TRY400
                except Exception:
                    log.exception("mail_failed")
                finally:
                    self._waiting.task_done()
                if self._waiting.empty():
                    await carrier.close()

    async def _send(self, carrier: Carrier, letter: Letter) -> None:
        """Try, and try again after a pause; the Message-ID stays, so that a twin is recognised as one."""
        identity = make_msgid(domain=self._settings.email_from.rpartition("@")[2])
        message = compose(self._settings, letter, identity=identity, now=datetime.now(UTC))
        for pause in PAUSES_SECONDS:
            try:
                await carrier.deliver(message)
            except (ServerUnavailable, Undelivered) as error:
                log.warning("mail_delayed", reason=type(error).__name__, pause_seconds=pause)
                await asyncio.sleep(pause)
            else:
                return
        await carrier.deliver(message)


def _address(email: str, display_name: str = "") -> Address:
    local, _, domain = email.rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode()
        address = Address(display_name, username=local, domain=ascii_domain)
    except ValueError:
        address = None
    if address is None or not local or not domain or any(character.isspace() for character in email):
        raise Refused("the address can't be one")
    return address


def _client(settings: Settings) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_user or None,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        use_tls=settings.smtp_tls == "tls",
        start_tls=settings.smtp_tls == "starttls",
        timeout=STEP_TIMEOUT_SECONDS,
    )


def _said(error: BaseException) -> str:
    """One line: the kind of trouble, and what the server answered."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        error = error.recipients[0]
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return shortened(one_line(f"{error.code} {error.message}"), REPLY_CHARACTERS)
    return shortened(one_line(f"{type(error).__name__}: {error}"), REPLY_CHARACTERS)


def _print(message: EmailMessage) -> None:
    body = message.get_body(("plain",))
    text = body.get_content() if body else ""
    sys.stderr.write(
        f"----- mail -----\nTo: {message['To']}\nSubject: {message['Subject']}\n\n{text}----------------\n"
    )
    sys.stderr.flush()
