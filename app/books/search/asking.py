"""Reading a query: which words, phrases and beginnings of words a reader asks for."""

import re
from dataclasses import dataclass, replace
from typing import Final

from app.books.search.analyser import runs, stem
from app.books.search.terms import LANGUAGE, STEM

MAX_WORDS: Final = 20
MIN_PREFIX_CHARACTERS: Final = 2


@dataclass(frozen=True, slots=True)
class Clause:
    """Something a book must hold: one word, or a phrase of several; `is_open` if its last word may go on."""

    words: tuple[str, ...]
    is_open: bool = False
    is_quoted: bool = False

    @property
    def has_forms(self) -> bool:
        """Whether other forms of the word are welcome too."""
        return len(self.words) == 1 and not self.is_quoted

    def alternatives(self) -> list[str]:
        """The lexemes of which one is enough: the word, its stem, and every word with that stem."""
        root = stem(self.words[0])
        return list(dict.fromkeys((self.words[0], root, f"{STEM}{root}")))


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked: `words` as they stand, `clauses` without words too common to narrow anything."""

    words: tuple[str, ...]
    clauses: tuple[Clause, ...]

    @property
    def text(self) -> str:
        """What is told to a reader."""
        return " ".join(self.words)

    @property
    def filed(self) -> tuple[str, ...]:
        """The words without those in front under which no title is filed."""
        start = next((place for place, word in enumerate(self.words) if word not in STOP_WORDS), 0)
        return self.words[start:]

    def in_language(self, language: str | None) -> "Query":
        """The same, only for books in this language; the index holds languages too, so that none is missed."""
        if language is None:
            return self
        return replace(self, clauses=(*self.clauses, Clause((f"{LANGUAGE}{language}",), is_quoted=True)))

    def with_word(self, old: str, new: str) -> "Query":
        """The same with one word replaced wherever it stands."""

        def swapped(words: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(new if word == old else word for word in words)

        clauses = tuple(replace(clause, words=swapped(clause.words)) for clause in self.clauses)
        return Query(swapped(self.words), clauses)


def read(text: str) -> Query | None:
    """The query that a reader typed, None if it holds no word; the last word may be unfinished."""
    clauses: list[Clause] = []
    for quoted, bare in _PART.findall(_QUOTES.sub('"', text)):
        if quoted:
            phrase = tuple(word for run in runs(quoted) for word in run)
            clauses += [Clause(phrase, is_quoted=True)] if phrase else []
        else:
            found = [Clause(tuple(run)) for run in runs(bare)]
            if found and bare.endswith("*"):
                found[-1] = replace(found[-1], is_open=True)
            clauses += found
    clauses = _limited(clauses)
    if not clauses:
        return None
    last = clauses[-1]
    if not last.is_quoted and not text[-1:].isspace() and len(last.words[-1]) >= MIN_PREFIX_CHARACTERS:
        clauses[-1] = replace(last, is_open=True)
    telling = [clause for clause in clauses if len(clause.words) > 1 or clause.words[0] not in STOP_WORDS]
    words = tuple(word for clause in clauses for word in clause.words)
    return Query(words, tuple(dict.fromkeys(telling or clauses)))


def number(value: str) -> Query:
    """The query for one standard number, in the form in which numbers are indexed."""
    clause = Clause((value,), is_quoted=True)
    return Query(clause.words, (clause,))


def _limited(clauses: list[Clause]) -> list[Clause]:
    kept: list[Clause] = []
    room = MAX_WORDS
    for clause in clauses:
        if room <= 0:
            break
        kept.append(replace(clause, words=clause.words[:room]))
        room -= len(clause.words)
    return kept


_QUOTES: Final = re.compile("[“”„«»]")
_PART: Final = re.compile(r'"([^"]*)"|([^\s"]+)')
_STOP_LIST: Final = """
    s t a an and are as at be by for from in into is it its of on or that the their this to was with
    der die das und des dem den von zu im le la les l de du des et un une el los las y en del il lo gli i di e
    и в во на с со о об от до по из к ко у за для не а но
"""
STOP_WORDS: Final = frozenset(_STOP_LIST.split())
