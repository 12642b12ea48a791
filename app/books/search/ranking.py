"""Ranking: how well a book's titles and names answer a query, in SQL that both databases read alike."""

from typing import Final

from sqlalchemy import ColumnElement, Integer, case, func, literal

from app.books.models import Book
from app.books.search.asking import Query

MAIN_TITLE: Final = 450
MAIN_TITLE_BEGINS: Final = 30
TITLE_IS_QUERY: Final = 400
TITLE_BEGINS_WITH_QUERY: Final = 120
TITLE_HOLDS_QUERY: Final = 60
WORD_IN_TITLE: Final = 20
WORD_IN_NAME: Final = 18
BEGINNING_IN_TITLE: Final = 8
BEGINNING_IN_NAME: Final = 7
ALL_EXACT: Final = 10
TITLE_CHARACTERS_A_POINT: Final = 16
MAX_RANKED: Final = 8
"""Words that count; more would cost and tell little."""


def score(query: Query) -> ColumnElement[int]:
    """Points for titles that are, begin with or hold the query, and for each word found in titles and names.

    Source: weights tuned on tests/data/relevance.csv (see tests/integration/search/test_relevance.py).
    """
    whole = " ".join(query.words)
    points: ColumnElement[int] = literal(0, Integer)
    filed = " ".join(query.filed)
    points += case(
        (_begins(f"| {filed} |") | _begins(f"| {filed} ;"), MAIN_TITLE),
        (_begins(f"| {filed} "), MAIN_TITLE_BEGINS),
        else_=0,
    )
    points += case(
        (_like(f"| {whole} |") | _like(f"| {whole} ;"), TITLE_IS_QUERY),
        (_like(f"| {whole} "), TITLE_BEGINS_WITH_QUERY),
        (_like(f" {whole} "), TITLE_HOLDS_QUERY if len(query.words) > 1 else 0),
        else_=0,
    )
    telling = dict.fromkeys(word for clause in query.clauses for word in clause.words if not word.startswith("@"))
    for word in list(telling)[:MAX_RANKED]:
        points += case(
            (_like(f" {word} "), WORD_IN_TITLE),
            (_like(f" @{word} "), WORD_IN_NAME),
            (_like(f" {word}"), BEGINNING_IN_TITLE),
            (_like(f" @{word}"), BEGINNING_IN_NAME),
            else_=0,
        )
    return points - func.length(Book.title_key) // TITLE_CHARACTERS_A_POINT


def _begins(text: str) -> ColumnElement[bool]:
    return Book.search_terms.like(f"{text}%")


def _like(text: str) -> ColumnElement[bool]:
    return Book.search_terms.like(f"%{text}%")
