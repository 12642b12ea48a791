"""Typographic covers for books without a picture: HTML and CSS, no request, no style attribute.

One author has one cloth, one title one layout; the size of the letters follows from the longest word.
"""

import math
import re
import unicodedata
import zlib
from functools import lru_cache
from typing import Final

from markupsafe import Markup, escape

CLOTHS: Final = 12
WIDTHS: Final = (66, 81, 60, 63, 81, 81, 81, 81)
"""Room for the title in hundredths of the cover's width, by layout."""
EM_LATIN: Final = 0.585
EM_CYRILLIC: Final = 0.64
LONG_WORD: Final = 14
SMALLEST, LARGEST = 8, 20
SOFT_HYPHEN: Final = "\u00ad"
_VOWELS: Final = set("aeiouyаеиоуыэюя")


@lru_cache(maxsize=4_096)
def cover(title: str, author: str, lang: str = "", size: str = "") -> Markup:
    """The cover of a book; `size` is a class: `big`, `mini` or none."""
    short = re.split(r"[:;=(]", title)[0].strip() or title
    layout = zlib.crc32(_norm(f"{title}|{author}").encode()) % len(WIDTHS)
    cloth = zlib.crc32(_norm(author or title).encode()) % CLOTHS
    words = [_broken(word) for word in short.split()[:14]]
    longest = max((len(part) for word in words for part in word.split(SOFT_HYPHEN)), default=1)
    letters = sum(len(word) + 1 for word in words)
    em = EM_CYRILLIC if re.search("[а-яё]", short, re.IGNORECASE) else EM_LATIN
    fits = min(LARGEST, WIDTHS[layout] / (em * (longest + 0.4)), 58 / math.sqrt(0.55 * letters))
    initial = next((letter for letter in short if letter.isalnum()), "·").upper()
    return Markup(
        '<span class="cover k{k} l{l} f{f} {size}" data-i="{i}" aria-hidden="true" lang="{lang}">'
        '<span class="ct">{title}</span><span class="ca">{author}</span></span>'
    ).format(
        k=cloth, l=layout, f=max(SMALLEST, math.floor(fits)), size=size, i=initial, lang=lang,
        title=Markup(" ").join(escape(word) for word in words), author=author,
    )  # fmt: skip


def _norm(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).lower().replace("ё", "е")
    return "".join(letter for letter in plain if letter.isalnum() or letter.isspace()).strip()


def _broken(word: str) -> str:
    """A very long word gets one place to break, behind the vowel nearest its middle."""
    if len(word) <= LONG_WORD:
        return word
    middle = len(word) // 2
    places = [index + 1 for index, letter in enumerate(word[:-2]) if letter.lower() in _VOWELS and index > 1]
    place = min(places, key=lambda at: abs(at - middle), default=middle)
    return f"{word[:place]}{SOFT_HYPHEN}{word[place:]}"
