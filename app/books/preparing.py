"""Preparing: all that is stored of a book, worked out from what is said of it, without a database."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.books import identifiers, search
from app.books.schemas import BookCreate, BookDocument, IdentifierRead
from app.books.search.terms import Terms, terms_of
from app.core.schemas import JsonObject


@dataclass(frozen=True, slots=True)
class Access:
    """What finds a book: its access points as (kind, key, label), and its indexed terms."""

    points: list[tuple[str, str, str]]
    terms: Terms

    def keys(self, kind: str) -> list[str]:
        """The keys of the access points of one kind."""
        return [key for found, key, _ in self.points if found == kind]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A book ready to be written: its columns but for the id, and what finds it."""

    columns: JsonObject
    access: Access


def prepare(data: BookCreate, *, now: datetime) -> Prepared:
    """Work out everything that is stored of a new book; a tenth of a millisecond and more, so not in a transaction."""
    document = document_of(data.model_dump(), created_at=now, updated_at=now)
    columns, access = worked_out(document)
    columns |= {"version": 1, "popularity": 0, "created_at": now, "updated_at": now}
    return Prepared(columns, access)


def worked_out(document: BookDocument) -> tuple[JsonObject, Access]:
    """The columns that follow from the document, and what else finds the book."""
    terms = terms_of(document)
    columns = {
        "title": document.title,
        "title_key": search.key(document.sort_title or document.title) or document.title[: search.MAX_KEY_CHARACTERS],
        "year": document.year,
        "suppressed": document.suppressed,
        "document": document.model_dump_json(),
        "search_terms": terms.ranked,
    }
    return columns, Access(_access_points(document), terms)


def document_of(fields: dict[str, Any], *, created_at: datetime, updated_at: datetime) -> BookDocument:
    """The document of a book with these fields of BookCreate."""
    numbers = [_identifier(item["type"], item["value"]) for item in fields["identifiers"]]
    return BookDocument.model_validate(
        fields | {"identifiers": numbers, "created_at": created_at, "updated_at": updated_at}
    )


def _identifier(kind: Any, value: str) -> IdentifierRead:
    normalized = identifiers.normalize(kind, value)
    return IdentifierRead(type=kind, value=value, normalized=normalized, valid=normalized is not None)


def _access_points(document: BookDocument) -> list[tuple[str, str, str]]:
    labels: list[tuple[str, str]] = []
    for contributor in document.contributors:
        labels.append(("author", contributor.name))
        # An author is also found without the years of his life.
        if (bare := _LIFE.sub("", contributor.name)) != contributor.name:
            labels.append(("name", bare))
    for subject in document.subjects:
        topics = subject.split(" -- ")
        labels += [("topic", topic) for topic in topics]
        if len(topics) > 1:
            labels.append(("subject", subject))
    # A series is found whatever the number of the volume.
    labels += [("series", series.partition(" ; ")[0]) for series in document.series]
    labels += [("language", language) for language in document.languages]
    points = {(kind, search.key(label)): label for kind, label in labels}
    points |= {(number.type, number.normalized): number.value for number in document.identifiers if number.normalized}
    return [(kind, key, label) for (kind, key), label in points.items() if key]


_LIFE: Final = re.compile(
    r",? (?:b\.|d\.|ca\.|fl\.|active|born|died)? ?\(?[0-9]{3,4}\??(?: ?- ?(?:ca\. )?[0-9]{0,4}\??)?\)?$"
)
