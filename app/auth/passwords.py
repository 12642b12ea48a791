"""Which passwords are too easily guessed: those of breaches, and those made of the account's own data. Offline."""

import hashlib
import re
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import Final

from app.core.errors import Unprocessable

FILE: Final = Path(__file__).with_name("common_passwords.bin")
DIGEST_BYTES: Final = 5
MIN_WORD: Final = 4


class PasswordTooCommon(Unprocessable):
    code, detail = "password_too_common", "This password is on the lists that attackers try first; choose another."


class PasswordTooPersonal(Unprocessable):
    code, detail = (
        "password_too_personal",
        "This password is made of your name, your address or the library's name; choose another.",
    )


def check(password: str, *, own_words: tuple[str, ...]) -> None:
    """Refuse a password that is common, or little more than `own_words` (address, name, the library's name).

    Raises:
        PasswordTooCommon, PasswordTooPersonal.
    """
    if is_common(password):
        raise PasswordTooCommon
    words = {word for text in own_words for word in re.split(r"\W+", text.casefold()) if len(word) >= MIN_WORD}
    rest = password.casefold()
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    if len(rest) < len(password) / 2:
        raise PasswordTooPersonal


def is_common(password: str) -> bool:
    """Searched in place: a set of the 60,000 would take 5 MB."""
    data, wanted = _prefixes(), prefix(password)

    def at(index: int) -> bytes:
        return data[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    return at(bisect_left(range(len(data) // DIGEST_BYTES), wanted, key=at)) == wanted


def prefix(password: str) -> bytes:
    """What the list keeps of a password; capitals make no difference."""
    return hashlib.sha256(password.casefold().encode()).digest()[:DIGEST_BYTES]


@cache
def _prefixes() -> bytes:
    return FILE.read_bytes()
