"""The analyser: how text becomes words, at save time and at query time alike."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from Stemmer import Stemmer

MAX_KEY_CHARACTERS: Final = 200
MAX_WORD_CHARACTERS: Final = 100


def fold(value: str) -> str:
    """Case, diacritics, width and ё folded away, so that two spellings of one word are equal; й stays a letter."""
    if value.isascii():
        return value.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", value).casefold())
    return unicodedata.normalize("NFC", _MARKS.sub("", decomposed)).translate(_LETTERS)


def runs(value: str) -> list[list[str]]:
    """The folded words of a text in order, each as its lexemes: one, or one for each Chinese or Japanese character."""
    found = (word[:MAX_WORD_CHARACTERS] for word in _WORD.findall(fold(_APOSTROPHES.sub("", value))))
    return [list(word) if _IDEOGRAPH.match(word) else [word] for word in found]


@lru_cache(maxsize=1 << 12)
def words(value: str) -> tuple[str, ...]:
    """The folded words of a text, in order; digits are words too."""
    if value.isascii():  # most texts, and a fifth of the time
        bare = _ASCII_APOSTROPHES.sub("", value) if "'" in value or "`" in value else value
        return tuple([word[:MAX_WORD_CHARACTERS] for word in _ASCII_WORD.findall(bare.lower())])
    return tuple([lexeme for run in runs(value) for lexeme in run])


def key(value: str) -> str:
    """A text as a key of an access point or an order: folded words, at most 200 characters."""
    return " ".join(words(value))[:MAX_KEY_CHARACTERS]


def elided(value: str) -> list[str]:
    """What follows an article or preposition that lost its vowel: `histoire` of `l'histoire`."""
    return [word for found in _ELISION.findall(value) for word in words(found)]


@lru_cache(maxsize=1 << 13)
def stem(word: str) -> str:
    """The word without its ending, English or Russian by its letters; other words as they are."""
    if _RUSSIAN.fullmatch(word):
        return str(_RUSSIAN_STEMMER.stemWord(word))
    if word.isascii() and word.isalpha():
        return str(_ENGLISH_STEMMER.stemWord(word))
    return word


def in_cyrillic(value: str) -> str:
    """The words of a romanised Russian text in Cyrillic letters; words that aren't romanised Russian are left out.

    Source: ALA-LC Romanization Tables, Russian. Records of American libraries hold Russian titles only so.
    """
    text = unicodedata.normalize("NFD", value).lower().replace("\u0361", "\ufe20").replace("\ufe21", "")
    converted = (_word_in_cyrillic(word) for word in _ROMAN_WORD.findall(text))
    return " ".join(word for word in converted if word)


def _word_in_cyrillic(word: str) -> str:
    letters = []
    position = 0
    while position < len(word):
        for length in (4, 3, 2, 1):
            letter = _ROMAN.get(word[position : position + length])
            if letter is not None:
                break
        else:
            return ""
        letters.append(letter)
        position += length
    return "".join(letters)


# 0: they keep nothing themselves, `stem` does.
_ENGLISH_STEMMER: Final = Stemmer("english", 0)
_RUSSIAN_STEMMER: Final = Stemmer("russian", 0)
_RUSSIAN: Final = re.compile("[а-я]+")
# Combining marks that distinguish no letters: all of Europe's but the breve that makes й of и, the points of Hebrew,
# the vowel signs of Arabic.
_MARKS: Final = re.compile(
    r"(?<!и)\u0306|[\u0300-\u0305\u0307-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1-\u05c7\u0610-\u061a\u0640"
    r"\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_LETTERS: Final = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŧ": "t"}
)
# Scripts without spaces between words; a run of them is searched as a phrase of its characters.
_CJK: Final = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_IDEOGRAPH: Final = re.compile(f"[{_CJK}]")
# Letters and digits, and the vowel signs without which words of India and South-East Asia fall apart.
_SIGNS: Final = (
    "\u0900-\u0963\u0966-\u0df3\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc\u0ec8-\u0ecd\u1000-\u109f\u1780-\u17d3"
)
_WORD: Final = re.compile(rf"[{_CJK}]+|(?:(?![{_CJK}])(?:[^\W_]|[{_SIGNS}]))+")
# Apostrophes and their kin inside or at the edge of a word, among them the soft sign and ayn of romanised text.
_APOSTROPHES: Final = re.compile(r"(?<=\w)['’`´](?=\w)|[ʹʺʼʻʽʾʿˈ\u02b9-\u02bf]")
_ASCII_APOSTROPHES: Final = re.compile("(?<=[A-Za-z0-9_])['`](?=[A-Za-z0-9_])")
_ASCII_WORD: Final = re.compile("[a-z0-9]+")
_ELISION: Final = re.compile(r"(?i)\b(?:l|d|dell|all|dall|nell|sull|un|qu|j|n|s|c|m)['’](\w{3,})")
_ROMAN_WORD: Final = re.compile(r"[a-z\u02b9\u02ba\u0300-\u036f\ufe20]+")
_ROMAN: Final = {
    "shch": "щ", "zh": "ж", "kh": "х", "ch": "ч", "sh": "ш", "t\ufe20s": "ц", "i\ufe20u": "ю", "i\ufe20a": "я",
    "i\ufe20e": "е", "i\u0306": "й", "e\u0307": "э", "e\u0308": "е", "i\u0304": "и", "\u02b9": "ь", "\u02ba": "ъ",
    "a": "а", "b": "б", "v": "в", "g": "г", "d": "д", "e": "е", "z": "з", "i": "и", "k": "к", "l": "л", "m": "м",
    "n": "н", "o": "о", "p": "п", "r": "р", "s": "с", "t": "т", "u": "у", "f": "ф", "y": "ы",
}  # fmt: skip
