"""ISBD punctuation: the marks between a record's elements, taken off so that a person reads plain text."""

import re
import unicodedata
from typing import Final


def clean(text: str) -> str:
    """One line of composed Unicode without control, non-sorting and direction marks."""
    if text.isascii() and text.isprintable():  # most texts, and half of the time
        return " ".join(text.split())
    composed = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return " ".join(_CONTROL.sub(" ", composed).split())


def plain(text: str) -> str:
    """An element as a reader sees it: `clean`, without the marks that lead to the next element or end the field."""
    bare = clean(text).rstrip(_SEPARATORS)
    if bare.endswith("."):
        bare = without_final_stop(bare)
    return _balanced(bare) if bare.startswith(("[", "(")) or bare.endswith(("]", ")")) else bare


def joined(texts: list[str], separator: str = " ") -> str:
    """Elements of one heading in order, with the record's own marks between them but none at the end."""
    return plain(separator.join(text.strip() for text in texts if text.strip()))


def without_final_stop(text: str) -> str:
    """Drop the full stop that ends a field, but not one that belongs to an abbreviation, an initial or an ellipsis."""
    if not text.endswith(".") or text.endswith("..."):
        return text
    if text.endswith(".."):
        text = text[:-1]
    word = _LAST_WORD.search(text)
    letters = word.group(1) if word else ""
    is_initial = len(letters) == 1 and (letters.isupper() or letters.islower())
    if word and (is_initial or letters.casefold() in _ABBREVIATIONS or text[: word.start()].endswith(".")):
        return text
    return text[:-1].rstrip(_SEPARATORS)


def _balanced(text: str) -> str:
    """Without a bracket whose partner stands in another element."""
    for opening, closing in ("[]", "()"):
        if text.count(opening) == text.count(closing):
            continue
        if text.startswith(opening) and closing not in text:
            text = text[1:].lstrip()
        elif text.endswith(closing) and opening not in text:
            text = text[:-1].rstrip()
    return text


_SEPARATORS: Final = " /:;=,+،؛"
# C0 and C1 controls (among them MARC's non-sorting marks), soft hyphen, zero-width and direction marks; the joiners
# U+200C and U+200D stay: Persian and the Indic scripts spell with them.
_INVISIBLE: Final = re.compile("[\x88\x89\x98\x9c\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_LAST_WORD: Final = re.compile(r"([^\W\d_]+)\.$")
# Of names, imprints and physical descriptions, in the languages that our records are written in.
_ABBREVIATION_LIST: Final = """
    al assn ave bd bros ca cie cm co comp corp dept div dr ed eds esq et etc fl hrsg ill illus inc jr leg lic ltd mme
    mrs mr ms no nr op pp pr prof pseud pt pub publ rev sen sr st ste tr trans univ v vol vols vs
    вып гг др ил им кн пр проф ред сб см соч сост стр тип ун изд
"""
_ABBREVIATIONS: Final = frozenset(_ABBREVIATION_LIST.split())
