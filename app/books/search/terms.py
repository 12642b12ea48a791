"""What is indexed of a book, and the text by which it is ranked; both follow from its document alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from app.books.schemas import BookDocument
from app.books.search.analyser import elided, in_cyrillic, stem, words

# Between two texts, so that no phrase reaches from one into the other.
BREAK: Final = "|"
STEM: Final = "="
LANGUAGE: Final = "@"
MAX_SUMMARY_WORDS: Final = 300
MAX_RANKED_WORDS: Final = 40
MAX_RANKED_TITLES: Final = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """`indexed` is the book's lexemes in order, `ranked` its titles and names as ranking reads them.

    `indexed` begins with the words as they stand, texts parted by BREAK; stems (`=dun`), words behind an elided
    article and languages (`@rus`) follow. `ranked` is `| title ; subtitle | other title | @name @name `; the title is
    filed under its first word that is no article.
    """

    indexed: tuple[str, ...]
    ranked: str
    words: frozenset[str]


def terms_of(document: BookDocument) -> Terms:
    titles = [document.title, *document.alternative_titles, *_original(document, "title")]
    names = [contributor.name for contributor in document.contributors]
    names += _original(document, "contributor")
    texts = [*titles[:1], document.subtitle or "", *titles[1:], *names, *_other_texts(document)]
    if "rus" in document.languages:
        native = [in_cyrillic(text) for text in (document.title, document.subtitle or "", *document.alternative_titles)]
        native_names = [in_cyrillic(contributor.name) for contributor in document.contributors]
        texts += native + native_names
        texts += [in_cyrillic(text) for text in (*document.series, document.publisher or "")]
        titles += [f"{native[0]} {native[1]}", *native[2:]]
        names += native_names
    return _terms(document, titles, names, texts)


def _terms(document: BookDocument, titles: list[str], names: list[str], texts: list[str]) -> Terms:
    analysed = [found for found in map(words, texts) if found]
    summary = words(document.summary or "")[:MAX_SUMMARY_WORDS]
    if summary:
        analysed.append(summary)
    stream = [lexeme for found in analysed for lexeme in (*found, BREAK)]
    distinct = dict.fromkeys(stream)
    distinct.pop(BREAK, None)
    bare = [word for text in texts for word in elided(text) if word not in distinct]
    stems = (f"{STEM}{stemmed}" for word in (*distinct, *bare) if (stemmed := stem(word)) != word)
    extras = dict.fromkeys((*bare, *stems))
    extras |= dict.fromkeys(f"{LANGUAGE}{language}" for language in document.languages)
    return Terms((*stream, *extras), _ranked(document, titles, names), frozenset((*distinct, *bare)))


def _other_texts(document: BookDocument) -> Iterator[str]:
    yield from document.series
    yield from document.subjects
    yield document.publisher or ""
    yield from (item.value for item in document.original_script if item.field not in {"title", "contributor"})
    yield from (number.normalized or number.value for number in document.identifiers)
    yield from (classification.value for classification in document.classifications)


def _original(document: BookDocument, field: str) -> list[str]:
    return [item.value for item in document.original_script if item.field == field]


def _ranked(document: BookDocument, titles: list[str], names: list[str]) -> str:
    # The title as it is filed comes first; with its article it is one more title.
    others = titles[1:] if document.sort_title is None else titles
    parts = list(words(document.sort_title or titles[0])[:MAX_RANKED_WORDS])
    if document.subtitle:
        parts += [";", *words(document.subtitle)[:MAX_RANKED_WORDS]]
    for title in others[:MAX_RANKED_TITLES]:
        parts += ["|", *words(title)[:MAX_RANKED_WORDS]]
    parts.append("|")
    parts += [f"@{word}" for word in _first(names)]
    return f"| {' '.join(parts)} "


def _first(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for name in names for word in words(name)))[:MAX_RANKED_WORDS]
