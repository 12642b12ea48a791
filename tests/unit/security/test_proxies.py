"""Whose address a request comes from."""

from typing import Any

import pytest

from app.core.proxies import SENDS_FILES, TrustedProxies, network_of


def _client(
    peer: str, *forwarded: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "::1"), scheme: str | None = None
) -> tuple[str, str]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if scheme is not None:
        headers.append((b"x-forwarded-proto", scheme.encode()))
    scope: dict[str, Any] = {"client": (peer, 4_000), "headers": headers, "scheme": "http"}
    TrustedProxies(trusted).apply(scope)
    return scope["client"][0], scope["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),  # nobody we trust: his header is ignored
        ("10.1.2.3", (), "10.1.2.3"),
        ("10.1.2.3", ("198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),  # the client wrote the left one himself
        ("10.1.2.3", ("1.1.1.1", "198.51.100.1"), "198.51.100.1"),
        ("10.1.2.3", ("1.1.1.1, 198.51.100.1, 10.9.9.9",), "198.51.100.1"),  # two proxies of ours
        ("10.1.2.3", ("10.9.9.9",), "10.9.9.9"),
        ("10.1.2.3", ("evil, 198.51.100.1",), "198.51.100.1"),
        ("10.1.2.3", ("evil",), "10.1.2.3"),
        ("10.1.2.3", ("198.51.100.1, evil",), "10.1.2.3"),
        ("10.1.2.3", ("",), "10.1.2.3"),
        ("10.1.2.3", ("[2001:db8::1]:1234",), "2001:db8::1"),
        ("10.1.2.3", ("198.51.100.1:5555",), "198.51.100.1"),
        ("::ffff:10.1.2.3", ("198.51.100.1",), "198.51.100.1"),
        ("::1", ("198.51.100.1",), "198.51.100.1"),
        ("/run/socket", ("198.51.100.1",), "/run/socket"),
    ],
)
def test_only_a_trusted_proxy_says_whose_address_it_is(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    assert _client(peer, *forwarded)[0] == expected


def test_only_a_trusted_proxy_says_that_it_was_tls() -> None:
    assert _client("10.1.2.3", scheme="https")[1] == "https"
    assert _client("10.1.2.3", scheme="http, https")[1] == "https"
    assert _client("10.1.2.3", scheme="gopher")[1] == "http"
    assert _client("203.0.113.9", scheme="https")[1] == "http"


def test_only_a_trusted_proxy_says_that_it_sends_files() -> None:
    def sends(peer: str, said: bytes) -> bool:
        scope: dict[str, Any] = {"client": (peer, 4_000), "headers": [(b"x-sendfile-type", said)], "scheme": "http"}
        TrustedProxies(("10.0.0.0/8",)).apply(scope)
        return SENDS_FILES in scope

    assert sends("10.1.2.3", b"X-Accel-Redirect")
    assert not sends("10.1.2.3", b"X-Sendfile")
    assert not sends("203.0.113.9", b"X-Accel-Redirect")


def test_a_star_trusts_the_nearest_entry_only() -> None:
    assert _client("203.0.113.9", "1.1.1.1, 198.51.100.1", trusted=("*",))[0] == "198.51.100.1"


def test_an_address_counts_for_its_network() -> None:
    assert network_of("198.51.100.77", ipv4_bits=24) == "198.51.100.0/24"
    assert network_of("::ffff:198.51.100.77", ipv4_bits=24) == "198.51.100.0/24"
    assert network_of("2001:db8:1:2ff::1", ipv4_bits=24) == network_of("2001:db8:1:200::9", ipv4_bits=24)
    assert network_of("2001:db8:1:2ff::1", ipv4_bits=24) != network_of("2001:db8:1:300::9", ipv4_bits=24)
    assert network_of("fe80::1%eth0", ipv4_bits=24) == "fe80::/56"
    assert network_of("unknown", ipv4_bits=24) == "unknown"
