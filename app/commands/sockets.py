"""The sockets that the service listens on, opened before anything else so that a taken port is told at once."""

import errno
import socket
from collections.abc import Iterable
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


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of `host`, on one port; with port 0 the system chooses it. Nothing listens yet.

    Raises:
        PortInUse, PortForbidden, NoSuchHost.
    """
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            chosen = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(_bound(family, (address[0], chosen, *address[2:])))
            except OSError as error:
                # `localhost` also means ::1 on a machine without IPv6; its other address is enough.
                if error.errno not in MISSING or len(found) == 1:
                    raise
    except OSError as error:
        _close(bound)
        raise _refusal(error, host, port) from error
    if not bound:
        raise NoSuchHost(host=host, reason="no usable network")
    return bound


def listen(bound: Iterable[socket.socket]) -> None:
    """Let connections in; they wait until a worker takes them.

    Raises:
        PortInUse: somebody else began to listen meanwhile.
    """
    for each in bound:
        host, port = each.getsockname()[:2]
        try:
            each.listen(BACKLOG)
        except OSError as error:
            raise _refusal(error, host, port) from error


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened


def _close(bound: Iterable[socket.socket]) -> None:
    for each in bound:
        each.close()


def _refusal(error: OSError, host: str, port: int) -> AppError:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(host=host, port=port)
    if error.errno == errno.EACCES:
        return PortForbidden(host=host, port=port)
    return NoSuchHost(host=host, reason=error.strerror or str(error))
