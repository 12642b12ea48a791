"""A matrix of who may call what, as text: `GET /a  POST /b` for each kind of access."""

from enum import Enum
from typing import TypeVar

Kind = TypeVar("Kind", bound=Enum)


def entries(matrix: dict[Kind, str]) -> dict[tuple[str, str], Kind]:
    """By method and path, whom the matrix says it is for; each stands in it once."""
    found: dict[tuple[str, str], Kind] = {}
    for access, text in matrix.items():
        words = text.split()
        for method, path in zip(words[::2], words[1::2], strict=True):
            assert (method, path) not in found, f"{method} {path} stands twice in the matrix"
            found[method, path] = access
    return found
