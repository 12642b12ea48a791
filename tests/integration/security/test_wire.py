"""What stands on the wire: one request is one request, whatever its framing says, and no folder is listed."""

import socket
from collections.abc import Iterator

import pytest

from app.api.docs import STATIC
from app.core.config import Settings
from tests.integration.commands.command_line import CommandLine, Service

SMUGGLED = b"GET /api/v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
LOGIN = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FRAMINGS = {
    "a length beside chunks": LOGIN + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks beside a length": LOGIN + b"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": LOGIN + b"Content-Length: 0\r\nContent-Length: 52\r\n\r\n" + SMUGGLED,
    "a length that is none": LOGIN + b"Content-Length: 0, 52\r\n\r\n" + SMUGGLED,
    "a signed length": LOGIN + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "an encoding nobody knows": LOGIN + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space before the colon": LOGIN + b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a header over two lines": LOGIN + b"X: 1\r\n Content-Length: 9\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a chunk's size that is none": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + SMUGGLED,
    "bare line feeds": LOGIN.replace(b"\r\n", b"\n") + b"X: a\rb\n\n" + SMUGGLED,
    "HTTP/2 unasked": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "a line feed in a header": LOGIN + b"X: a\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
}


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    with CommandLine.of(settings).serving() as running:
        yield running


def said(service: Service, request: bytes) -> bytes:
    """All that comes back until the server closes, or is silent for a moment."""
    answer = b""
    with socket.create_connection(("localhost", service.port), timeout=1) as connection:
        connection.sendall(request)
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return answer


def test_a_request_is_never_read_as_two(service: Service) -> None:
    """Doubtful framing is refused and the connection closed, or everybody reads it the same way: as RFC 9112 says."""
    plain = said(service, LOGIN + b"Content-Length: 0\r\n\r\n" + SMUGGLED)
    assert plain.count(b"HTTP/1.1 ") == 2, "two honest requests on a connection are two"
    for name, request in FRAMINGS.items():
        answer = said(service, request)
        statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        is_refused = statuses in ([], [b"400"])
        # A chunked body that ends is one request, and what follows it is the next, as the specification has it.
        is_read_by_its_chunks = (
            "chunks" in name and b"Content-Length" in request and statuses in ([b"422"], [b"422", b"404"])
        )
        assert is_refused or is_read_by_its_chunks, f"{name}: {statuses}"
        assert b"500" not in statuses, name
    assert service.get("/health").status_code == 200


def test_no_folder_is_listed_and_no_source_is_served(service: Service) -> None:
    for path in ("/static", "/static/", "/static/vendor/", "/static/../main.py", "/static/%2e%2e/main.py",
                 "/.git/config", "/.env", "/library.env", "/app/main.py", "/data/library.db", "/uploads/"):  # fmt: skip
        assert service.get(path).status_code in {400, 404}, path


def test_only_files_of_the_kinds_that_pages_are_made_of_are_served(service: Service) -> None:
    for path in ("web/site.css", "web/ui.js", "web/lamp.svg", "vendor/literata/literata-latin-wght-normal.woff2"):
        assert service.get(f"/static/{path}").status_code == 200, path
    for path in ("vendor/htmx.org/LICENSE", "vendor/redoc/redoc.standalone.js.LICENSE.txt"):
        assert (STATIC / path).exists()
        assert service.get(f"/static/{path}").status_code == 404, path


def test_no_answer_redirects_by_itself(service: Service) -> None:
    """A program that forgot the s of https must fail at once instead of sending its secret twice."""
    for path in ("/api/v1/books/", "/api/v1/auth/me", "/health/", "/docs/", "//evil.test/", "/api/v1//books"):
        assert service.get(path).status_code not in {301, 302, 303, 307, 308}, path
