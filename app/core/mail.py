"""Mail: letters to people, handed over after the commit and sent beside the requests; by SMTP, or to the console."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formataddr, formatdate, make_msgid
from typing import Final

import aiosmtplib
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import Settings
from app.core.db import on_commit

log = structlog.get_logger()

SMTP_TIMEOUT_SECONDS: Final = 10
MAX_WAITING: Final = 1_000
PAUSES_SECONDS: Final = (1, 5, 25)
CLOSING_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail to one person. Plain text: nothing in it can run."""

    to: str
    subject: str
    text: str


class Mailer:
    """Sends letters in the order in which they were posted; `address` is what links in them begin with."""

    def __init__(self, settings: Settings) -> None:
        self.address = settings.address
        self._settings = settings
        self._deliver: Callable[[EmailMessage], Awaitable[None]] = self._by_smtp if settings.smtp_host else _to_console
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
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker

    def _enqueue(self, letter: Letter) -> None:
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        if self._waiting.full():
            log.error("mail_dropped", reason="too many letters are waiting", waiting=MAX_WAITING)
            return
        self._waiting.put_nowait(letter)

    async def _work(self) -> None:
        while True:
            letter = await self._waiting.get()
            try:
                await self._send(self._message(letter))
            except Exception:
                log.exception("mail_failed")
            finally:
                self._waiting.task_done()

    async def _send(self, message: EmailMessage) -> None:
        """Try, and try again after a pause; the Message-ID stays, so that a twin is recognised as one."""
        for pause in PAUSES_SECONDS:
            try:
                await self._deliver(message)
            except (aiosmtplib.SMTPException, OSError) as error:
                log.warning("mail_delayed", reason=type(error).__name__, pause_seconds=pause)
                await asyncio.sleep(pause)
            else:
                return
        await self._deliver(message)

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage()
        sender = self._settings.email_from
        message["From"] = formataddr((self._settings.email_from_name or self._settings.project_name, sender))
        message["To"] = letter.to
        message["Subject"] = letter.subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=sender.partition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        return message

    async def _by_smtp(self, message: EmailMessage) -> None:
        settings = self._settings
        await aiosmtplib.send(
            message,
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_user or None,
            password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
            timeout=SMTP_TIMEOUT_SECONDS,
        )


async def _to_console(message: EmailMessage) -> None:
    sys.stdout.write(f"----- mail -----\n{message['To']}: {message['Subject']}\n{message.get_content()}-----\n")
    sys.stdout.flush()
