"""A mail server for tests: real SMTP on a free port, which keeps what it is given."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

ARRIVAL_TIMEOUT_SECONDS = 5


class Mailbox:
    """What has arrived, in order."""

    def __init__(self) -> None:
        self.port = 0
        self.letters: list[EmailMessage] = []

    def wait_for(self, to: str, subject: str) -> EmailMessage:
        """The newest letter with this subject to somebody; fails if none comes."""
        deadline = time.monotonic() + ARRIVAL_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            for letter in self.letters[::-1]:
                if letter["To"] == to and letter["Subject"] == subject:
                    return letter
            time.sleep(0.01)
        raise AssertionError(
            f"no {subject!r} to {to}; there are {[(item['To'], item['Subject']) for item in self.letters]}"
        )

    def of(self, to: str) -> list[str]:
        """The subjects of what somebody got."""
        return [str(letter["Subject"]) for letter in self.letters if letter["To"] == to]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        mailbox: Mailbox = self.server.mailbox  # type: ignore[attr-defined]  # set by `smtp_server`
        self._say("220 ready")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say("354 go on")
                mailbox.letters.append(self._message())
            self._say("221 bye" if verb == b"QUIT" else "250 ok")

    def _message(self) -> EmailMessage:
        lines = list(iter(self.rfile.readline, b".\r\n"))
        letter: EmailMessage = BytesParser(EmailMessage, policy=default).parsebytes(b"".join(lines))
        return letter

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def smtp_server() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.mailbox = mailbox  # type: ignore[attr-defined]  # read by the handler
        mailbox.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join()
