"""Clients who begin and don't go on: in the handshake, the headers, the body, or reading the answer."""

import re
import socket
import ssl
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice

import pytest

from tests import evidence
from tests.integration.stack.client import Client
from tests.integration.stack.conftest import IS_FULL
from tests.integration.stack.crowd import many_addresses
from tests.integration.stack.running import HOST, Stack

CONNECTIONS = 6_000 if IS_FULL else 500
LET_GO_SECONDS = 12
# More than all buffers between the file and its reader hold.
LARGE = "/static/vendor/redoc/redoc.standalone.js"
BEGUN = {
    "handshake": b"",
    "headers": f"POST /api/v1/loans HTTP/1.1\r\nHost: {HOST}\r\nContent-Le".encode(),
    "body": f"POST /api/v1/loans HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\n{{".encode(),
    "read": f"GET {LARGE} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(),
}


@pytest.mark.timeout(400)
def test_slow_clients_harm_nobody(stack: Stack, outside: Client) -> None:
    assert len(outside.get(LARGE, headers={"Accept-Encoding": "identity"}).content) > 500_000
    with many_addresses() as addresses, ThreadPoolExecutor(8) as pool:
        pairs = islice(zip(cycle(BEGUN), cycle(addresses), strict=False), CONNECTIONS)
        slow = list(pool.map(partial(_begin, (stack.running["nginx"].address, 8443)), pairs))
        status = stack.running["nginx"].run("curl", "--silent", "http://127.0.0.1:8080/proxy-health").stdout
        honest = Counter(outside.get("/api/v1/books").status_code for _ in range(20))
        time.sleep(LET_GO_SECONDS)
        left = Counter(kind for kind, connection in slow if _is_open(connection))
    for _, connection in slow:
        connection.close()
    evidence.keep(
        "R8", "slow", connections=CONNECTIONS, of_each=dict(Counter(kind for kind, _ in slow)), still_open=dict(left),
        open_at_once=int(re.findall(r"Active connections: (\d+)", status)[0]),
        others={str(status): count for status, count in honest.items()},
    )  # fmt: skip
    assert honest == {200: 20}
    assert not left


def _begin(proxy: tuple[str, int], given: tuple[str, str]) -> tuple[str, socket.socket]:
    kind, address = given
    connection = socket.socket()
    if kind == "read":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.bind((address, 0))
    connection.connect(proxy)
    if kind != "handshake":
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        connection = trust.wrap_socket(connection, server_hostname=HOST)
        connection.sendall(BEGUN[kind])
    connection.settimeout(0.2)
    return kind, connection


def _is_open(connection: socket.socket) -> bool:
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return True
    except OSError:
        return False
    return False
