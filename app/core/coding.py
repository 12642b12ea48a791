"""Content codings: which one a client accepts best, and bytes in it. Source: RFC 9110, 12.5.3."""

import gzip
from functools import lru_cache
from typing import Final

import brotli

# Of what is worked out once and sent often: about 1 ms for a page of the catalogue.
BROTLI_QUALITY: Final = 5
GZIP_LEVEL: Final = 6
OURS: Final = (b"br", b"gzip")


def encoded(body: bytes, coding: bytes) -> bytes:
    """The body in one of our codings; the same bytes for the same body."""
    return (
        brotli.compress(body, quality=BROTLI_QUALITY) if coding == b"br" else gzip.compress(body, GZIP_LEVEL, mtime=0)
    )


@lru_cache(maxsize=256)
def best_coding(accepted: bytes) -> bytes:
    """The coding of ours that Accept-Encoding weighs highest, Brotli where they are equal; empty if it takes none."""
    weights: dict[bytes, float] = {}
    for item in accepted.lower().split(b","):
        name, *parameters = (part.strip() for part in item.split(b";"))
        weights[name] = _weight(parameters)
    best = max(OURS, key=lambda coding: weights.get(coding, weights.get(b"*", 0)))
    return best if weights.get(best, weights.get(b"*", 0)) > 0 else b""


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0
    return 1
