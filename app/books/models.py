"""Books (editions), the access points by which they are found, and the source records they came from."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ForeignKey, Identity, Index, LargeBinary, String, Text, event
from sqlalchemy.orm import Mapped, mapped_column, object_session

from app.core.db import Base, BigId, Key, UtcDateTime, raise_generation

CATALOGUE: Final = "catalogue"
"""The kind of data that books are; whatever writes one raises its generation."""


class Book(Base):
    """One edition.

    `document` holds everything bibliographic: its public JSON without id and version, written with every change and
    served as it stands. The columns beside it are what SQL sorts, filters and ranks by. `version` counts edits of
    bibliographic data only; copies, queues and popularity live outside it.
    """

    __tablename__ = "books"

    id: Mapped[int] = mapped_column(BigId, Identity(always=False), primary_key=True)
    version: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    title_key: Mapped[str] = mapped_column(Key)
    year: Mapped[int | None]
    document: Mapped[str] = mapped_column(Text)
    search_terms: Mapped[str] = mapped_column(Text, deferred=True, deferred_raiseload=True)
    suppressed: Mapped[bool]
    popularity: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The book into which this one was merged; its address leads there.
    merged_into_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("books.id"))

    __table_args__ = (
        Index("ix_books_title_key_id", "title_key", "id"),
        Index("ix_books_year_id", "year", "id"),
        Index("ix_books_popularity_id", "popularity", "id"),
        {"sqlite_autoincrement": True},
    )


def _catalogue_changes(_mapper: Any, _connection: Any, book: Book) -> None:
    session = object_session(book)
    assert session is not None
    raise_generation(session, CATALOGUE)


for _written in ("after_insert", "after_update", "after_delete"):
    event.listen(Book, _written, _catalogue_changes)


class AccessPoint(Base):
    """A name, topic, language or number by which a book is found; rewritten with the book.

    `kind` is author, name (an author without dates), subject (a whole heading), topic (a part of one), language,
    series or an identifier's type; `key` is the folded value, `label` what a person reads.
    """

    __tablename__ = "access_points"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    key: Mapped[str] = mapped_column(Key, primary_key=True)
    book_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("books.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    label: Mapped[str] = mapped_column(Text)


class SourceRecord(Base):
    """The record a book was made from, as it came; (source, control_number) is the import's key."""

    __tablename__ = "source_records"

    id: Mapped[int] = mapped_column(BigId, Identity(always=False), primary_key=True)
    book_id: Mapped[int] = mapped_column(BigId, ForeignKey("books.id", ondelete="CASCADE"), index=True)
    source: Mapped[str] = mapped_column(String(64))
    control_number: Mapped[str] = mapped_column(String(255))
    digest: Mapped[str] = mapped_column(String(64))
    format: Mapped[str] = mapped_column(String(16))
    record: Mapped[bytes] = mapped_column(LargeBinary, deferred=True, deferred_raiseload=True)
    imported_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index("uq_source_records_source_control_number", "source", "control_number", unique=True),)


class SearchWord(Base):
    """The dictionary of words that books hold, by which a misspelt query is put right; it only grows."""

    __tablename__ = "search_words"

    word: Mapped[str] = mapped_column(Key, primary_key=True)
