"""What of a title answers a query, marked, so that a reader sees why the book was found."""

import re
from functools import lru_cache
from typing import Final

from markupsafe import Markup, escape

from app.books.search import asking
from app.books.search.analyser import stem, words

_WORD: Final = re.compile(r"\w+(?:['’]\w+)*")


def marked(title: str, query: str | None) -> Markup:
    """The title as HTML, with `<mark>` around words in any form of those asked, or that go on with the last one."""
    stems, beginning = _looked_for(query or "")
    if not stems:
        return escape(title)
    parts, end = [], 0
    for found in _WORD.finditer(title):
        parts.append(escape(title[end : found.start()]))
        is_asked = any(stem(word) in stems or (beginning and word.startswith(beginning)) for word in words(found[0]))
        parts.append(Markup("<mark>%s</mark>") % found[0] if is_asked else escape(found[0]))
        end = found.end()
    return Markup("").join([*parts, escape(title[end:])])


@lru_cache(maxsize=256)
def _looked_for(query: str) -> tuple[frozenset[str], str]:
    """The stems of the words asked, and the beginning that the last of them may be, or an empty one."""
    asked = asking.read(query)
    if asked is None:
        return frozenset(), ""
    last = asked.clauses[-1]
    stems = frozenset(stem(word) for clause in asked.clauses for word in clause.words)
    return stems, last.words[-1] if last.is_open else ""
