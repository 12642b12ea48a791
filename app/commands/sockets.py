"""The sockets that the service listens on, opened before anything else so that a taken port is told at once."""

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from app.core.errors import AppError, Conflict, Unprocessable

BACKLOG: Final = 2_048
MISSING: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class PortInUse(Conflict):
    code, detail = (
        "port_in_use",
        "Another program listens on {host}:{port} already. Stop it, or choose another port with PORT or --port.",
    )


class PortForbidden(Conflict):
    code, detail = (
        "port_forbidden",
        (
            "This user may not listen on {host}:{port}; ports below 1024 are root's."
            " Choose another with PORT or --port and put a proxy before it."
        ),
    )


class NoSuchHost(Unprocessable):
    code, detail = (
        "no_such_host",
        (
            "This machine has no address {host} ({reason}). Set HOST to 127.0.0.1 for this machine alone,"
            " or to 0.0.0.0 or :: for every network."
        ),
    )


@contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """A socket for each address of `host`, on one port; with port 0 the system chooses it. Nothing listens yet.

    Raises:
        PortInUse, PortForbidden, NoSuchHost.
    """
    with ExitStack() as opened:
        try:
            sockets = _bind(opened, host, port)
        except OSError as error:
            raise _refusal(error, host, port) from error
        yield sockets


def listen(sockets: Iterable[socket.socket]) -> None:
    """Let connections in. Harmless on one that listens already.

    Raises:
        PortInUse: somebody else has begun to listen on it.
    """
    for each in sockets:
        host, port = each.getsockname()[:2]
        try:
            each.listen(BACKLOG)
        except OSError as error:
            raise _refusal(error, host, port) from error


def _bind(opened: ExitStack, host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        each = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            each.bind((address[0], chosen, *address[2:]))
        except OSError as error:
            # `localhost` also means ::1 on a machine without IPv6; its other address is enough.
            if error.errno not in MISSING or (not sockets and address == found[-1][4]):
                raise
        else:
            sockets.append(each)
    return sockets


def _refusal(error: OSError, host: str, port: int) -> AppError:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(host=host, port=port)
    if error.errno == errno.EACCES:
        return PortForbidden(host=host, port=port)
    return NoSuchHost(host=host, reason=error.strerror or str(error))
