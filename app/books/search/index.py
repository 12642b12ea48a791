"""The index: what books hold, kept by the database's own full text, written and asked in lexemes of ours.

One of the few modules that ask which database it is. PostgreSQL gets a tsvector literal with our lexemes and
positions, never passing its text parser; SQLite gets our lexemes parted by spaces in an FTS5 table whose tokenizer
only splits at them. Neither folds, stems or drops anything (docs/adr/0010-one-analyser.md).
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    TableClause,
    TextClause,
    bindparam,
    column,
    delete,
    literal_column,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.books.search.asking import Clause, Query
from app.books.search.terms import BREAK, Terms
from app.core.bulk import Rows, is_sqlite

# Source: PostgreSQL manual, "Text Search Types, limits". Of more than 255 places of one lexeme it keeps the first.
MAX_POSITION: Final = 16_383


async def forget(session: AsyncSession, book_ids: Collection[int]) -> None:
    """Take books out of the index."""
    await session.execute(delete(table_of(session)).where(book_id(session).in_(book_ids)))


def rows(session: AsyncSession, terms: Mapping[int, Terms]) -> Rows:
    """What puts books into the index, by id, that are not in it."""
    index, write = table_of(session), _words if is_sqlite(session) else _vector
    return Rows(index, index.c.keys(), ((id_, write(found)) for id_, found in terms.items()))


def table_of(session: AsyncSession) -> TableClause:
    """The index, to be joined with books."""
    return _fts if is_sqlite(session) else _vectors


def book_id(session: AsyncSession) -> ColumnElement[int]:
    """The index's column that holds a book's id."""
    return _fts.c.rowid if is_sqlite(session) else _vectors.c.book_id


def holds(session: AsyncSession, query: Query, *, exactly: bool) -> ColumnElement[bool]:
    """The condition that an index row holds everything asked; `exactly` without other forms and unfinished words."""
    if is_sqlite(session):
        expression = " AND ".join(_fts_clause(clause, exactly=exactly) for clause in query.clauses)
        return literal_column("book_terms").op("MATCH", is_comparison=True)(bindparam(None, expression))
    vector: ColumnElement[Any] = _vectors.c.vector
    asked = text("CAST(:ts_query AS tsquery)").bindparams(ts_query=_ts_query(query, exactly=exactly))
    return vector.op("@@", is_comparison=True)(asked)


def explained(query: Query, *, exactly: bool) -> TextClause:
    """PostgreSQL's plan for `holds` alone, as JSON."""
    return _EXPLAIN.bindparams(ts_query=_ts_query(query, exactly=exactly))


def _fts_clause(clause: Clause, *, exactly: bool) -> str:
    phrase = f'"{" ".join(clause.words)}"'
    if exactly:
        return phrase
    found = [f'"{lexeme}"' for lexeme in clause.alternatives()] if clause.has_forms else [phrase]
    if clause.is_open:
        found.append(f"{phrase} *")
    return f"({' OR '.join(found)})"


def _ts_query(query: Query, *, exactly: bool) -> str:
    return " & ".join(_ts_clause(clause, exactly=exactly) for clause in query.clauses)


def _ts_clause(clause: Clause, *, exactly: bool) -> str:
    phrase = " <-> ".join(f"'{word}'" for word in clause.words)
    if exactly:
        return f"({phrase})"
    found = [f"'{lexeme}'" for lexeme in clause.alternatives()] if clause.has_forms else [f"({phrase})"]
    if clause.is_open:
        found.append(f"({phrase}:*)")
    return f"({' | '.join(found)})"


def _words(terms: Terms) -> str:
    """What stands in the FTS5 table."""
    return " ".join(terms.indexed)


def _vector(terms: Terms) -> str:
    """The tsvector literal: each lexeme with its places in the stream."""
    places: dict[str, str] = {}
    for place, lexeme in enumerate(terms.indexed, 1):
        known = places.get(lexeme)
        if place > MAX_POSITION:
            places[lexeme] = known or ""
        else:
            places[lexeme] = f"{known},{place}" if known else f":{place}"
    places.pop(BREAK, None)
    return " ".join([f"'{lexeme}'{found}" for lexeme, found in places.items()])


_fts: Final = table("book_terms", column("rowid"), column("terms"))
_vectors: Final = table("book_terms", column("book_id"), column("vector"))
_EXPLAIN: Final = text(
    "EXPLAIN (FORMAT JSON) SELECT book_id FROM book_terms WHERE vector @@ CAST(:ts_query AS tsquery)"
)
