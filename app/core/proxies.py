"""Whose address a request comes from: the direct peer's, unless that is a proxy that we trust to tell."""

import ipaddress
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import Any, Final

_SCHEMES: Final = frozenset({"http", "https"})
SENDS_FILES: Final = "library.sends_files"
"""In the scope: the proxy sees the folder of uploads, and sends a file that X-Accel-Redirect names."""


class TrustedProxies:
    """The proxies of FORWARDED_ALLOW_IPS: addresses, networks, or `*` for any peer."""

    def __init__(self, names: Iterable[str]) -> None:
        given = list(names)
        self._trusts_all = "*" in given
        self._networks = [ipaddress.ip_network(name, strict=False) for name in given if _is_address(name)]
        self._names = frozenset(name for name in given if not _is_address(name))
        self.trusts = lru_cache(maxsize=4_096)(self._trusts)

    def apply(self, scope: MutableMapping[str, Any]) -> None:
        """Set the scope's client and scheme from what a trusted peer forwarded, and whether it sends files itself; from
        anybody else all of it is ignored.

        The list is read from the right: each trusted proxy appended whom it saw, so that the first one who is not
        trusted is the client, whatever he wrote further left himself.
        """
        client = scope.get("client")
        if client is None or not self.trusts(client[0]):
            return
        forwarded, scheme = b"", b""
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                forwarded = forwarded + b"," + value if forwarded else value
            elif name == b"x-forwarded-proto":
                scheme = value
            elif name == b"x-sendfile-type" and value == b"X-Accel-Redirect":
                scope[SENDS_FILES] = True
        if forwarded:
            scope["client"] = (self._client(forwarded.decode("latin-1")) or client[0], 0)
        last_scheme = scheme.decode("latin-1").rpartition(",")[2].strip().lower()
        if last_scheme in _SCHEMES:
            scope["scheme"] = last_scheme

    def _client(self, forwarded: str) -> str | None:
        found = None
        for entry in reversed(forwarded.split(",")):
            address = _without_port(entry.strip())
            if not _is_address(address):
                return found
            found = address
            if self._trusts_all or not self.trusts(address):
                return found
        return found

    def _trusts(self, host: str) -> bool:
        if self._trusts_all or host in self._names:
            return True
        try:
            address = _plain(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


@lru_cache(maxsize=4_096)
def network_of(host: str, *, ipv4_bits: int, ipv6_bits: int = 56) -> str:
    """The network that an address counts for: one household has a whole /56 of IPv6 to choose addresses from."""
    try:
        address = _plain(host)
    except ValueError:
        return host
    bits = ipv4_bits if address.version == 4 else ipv6_bits  # noqa: PLR2004  # the protocol's number
    return str(ipaddress.ip_network((address, bits), strict=False))


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without zone; one of IPv4 that is written as IPv6 is the same address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
