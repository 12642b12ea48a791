"""Search: one analyser in Python writes the terms at save time and reads the query; the databases only index them.

One of the few modules that ask which database it is: PostgreSQL has a GIN index over `simple` lexemes, SQLite an FTS5
table kept by triggers (both made by the migrations).
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, literal_column, text
from sqlalchemy.sql import operators

from app.books.models import Book

MAX_QUERY_WORDS: Final = 20
MAX_KEY_CHARACTERS: Final = 200
MAX_WORD_CHARACTERS: Final = 100


def fold(value: str) -> str:
    """Case, diacritics, width and ё folded away, so that two spellings of one word are equal; й stays a letter."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", value).casefold())
    return unicodedata.normalize("NFC", _MARKS.sub("", decomposed))


def words(value: str) -> list[str]:
    """The folded words of a text, in order; digits are words too."""
    return [word[:MAX_WORD_CHARACTERS] for word in _WORD.findall(fold(_APOSTROPHE.sub("", value)))]


def key(value: str) -> str:
    """A text as a key of an access point or an order: folded words, at most 200 characters."""
    return " ".join(words(value))[:MAX_KEY_CHARACTERS]


def terms(texts: Iterable[str]) -> str:
    """What is indexed of a book: each distinct word once, in order of appearance."""
    return " ".join(dict.fromkeys(word for value in texts for word in words(value)))


def matching(query: str, *, is_sqlite: bool) -> ColumnElement[bool] | None:
    """The condition that a book holds every word of the query, the last one also as a prefix; None without words."""
    asked = list(dict.fromkeys(words(query)))[:MAX_QUERY_WORDS]
    if not asked:
        return None
    if is_sqlite:
        expression = " ".join(f'"{word}"' for word in asked) + "*"
        rows = text("SELECT rowid FROM books_fts WHERE books_fts MATCH :fts_query").bindparams(fts_query=expression)
        return operators.in_op(Book.id, rows.columns(Book.id).scalar_subquery())
    expression = " & ".join(f"'{word}'" for word in asked) + ":*"
    vector: ColumnElement[Any] = literal_column("to_tsvector('simple', books.search_terms)")
    return vector.op("@@", is_comparison=True)(text("CAST(:ts_query AS tsquery)").bindparams(ts_query=expression))


# Combining marks, except the breve that makes й of и.
_MARKS: Final = re.compile(
    r"(?<!и)\u0306|[\u0300-\u0305\u0307-\u036f\u0483-\u0487\u1ab0-\u1aff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_WORD: Final = re.compile(r"[^\W_]+")
_APOSTROPHE: Final = re.compile(r"(?<=\w)['’ʼʹ](?=\w)")
