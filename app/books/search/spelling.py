"""Spelling: a word that no book holds, put right by one letter."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.books.models import SearchWord
from app.books.search.asking import Query
from app.books.search.finding import LAST, Conditions, candidates
from app.core.bulk import is_sqlite
from app.core.db import on_commit

MIN_CHARACTERS: Final = 4
MAX_CHARACTERS: Final = 24
MAX_TRIED: Final = 8
MAX_COUNTED: Final = 50
MAX_KNOWN: Final = 25_000

# Words known to be in each database's dictionary, so that a long import doesn't ask for the same ones again.
_known: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


async def learn(session: AsyncSession, words: Iterable[str]) -> None:
    """Put new words into the dictionary.

    The last statement of a transaction, in the order of the alphabet: two writers of the same new word wait for each
    other only as long as a commit takes, and never in a circle.
    """
    known = _known.setdefault(session.get_bind(), set())
    worthy = {word for word in words if MIN_CHARACTERS <= len(word) <= MAX_CHARACTERS and word.isalpha()}
    unknown = sorted(worthy - known)
    if unknown:
        learnt = _LEARN_ON_SQLITE if is_sqlite(session) else _LEARN
        await session.execute(learnt, {"words": json.dumps(unknown)})
    on_commit(session, lambda: _remember(known, unknown))


async def corrected(session: AsyncSession, query: Query, *, where: Conditions) -> Query | None:
    """The query that finds something and differs by one letter of one word; the one that finds most, None if none.

    Words that no book holds are put right first; only if all are known any of them is.
    """
    words = [word for word in dict.fromkeys(query.words) if MIN_CHARACTERS <= len(word) <= MAX_CHARACTERS]
    unknown = [word for word in words if not await _is_known(session, word)]
    best: tuple[int, Query] | None = None
    for word in unknown or words:
        for neighbour in await _neighbours(session, word):
            changed = query.with_word(word, neighbour)
            found = await candidates(session, changed, where=where, exactly=False, limit=MAX_COUNTED)
            if found and (best is None or len(found) > best[0]):
                best = len(found), changed
        if best:
            return best[1]
    if len(unknown) > 1:  # two words are wrong: take each by itself as most likely meant
        return await _all_replaced(session, query, unknown, where)
    return None


async def _all_replaced(session: AsyncSession, query: Query, unknown: list[str], where: Conditions) -> Query | None:
    for word in unknown:
        neighbours = await _neighbours(session, word)
        if not neighbours:
            return None
        query = query.with_word(word, neighbours[0])
    found = await candidates(session, query, where=where, exactly=False, limit=1)
    return query if found else None


async def _is_known(session: AsyncSession, word: str) -> bool:
    statement = select(SearchWord.word).where(SearchWord.word >= word, SearchWord.word < word + LAST)
    return await session.scalar(statement.order_by(SearchWord.word).limit(1)) is not None


async def _neighbours(session: AsyncSession, word: str) -> list[str]:
    """Known words one letter away; those that keep the first letter and the length come first."""
    possible = sorted(set(_edits(word)) - {word})
    found = await session.scalars(select(SearchWord.word).where(SearchWord.word.in_(possible)))

    def unlikeliness(other: str) -> tuple[bool, bool, str]:
        return other[0] != word[0], len(other) != len(word), other

    return sorted(found, key=unlikeliness)[:MAX_TRIED]


def _edits(word: str) -> Iterator[str]:
    """Every word that one wrong, missing, superfluous or swapped letter makes of this one."""
    letters = next((alphabet for alphabet in _ALPHABETS if word[0] in alphabet), "")
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
        yield from (before + letter + after for letter in letters)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in letters)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]


def _remember(known: set[str], words: Iterable[str]) -> None:
    if len(known) > MAX_KNOWN:
        known.clear()
    known.update(words)


_ALPHABETS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґ",
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    "אבגדהוזחטיכךלמםנןסעפףצץקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
)
_LEARN: Final = text(
    "INSERT INTO search_words (word) SELECT json_array_elements_text(CAST(:words AS json)) ON CONFLICT DO NOTHING"
)
_LEARN_ON_SQLITE: Final = text("INSERT OR IGNORE INTO search_words (word) SELECT value FROM json_each(:words)")
