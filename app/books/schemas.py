"""The shapes of books: what may be sent, what is stored as the document, what is answered."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.core.pagination import DEFAULT_LIMIT, MAX_LIMIT
from app.core.schemas import Code, Line, Prose, Read, ShortLine, Strict

IdentifierType = Literal["isbn", "issn", "lccn", "oclc"]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
Year = Annotated[int, Field(ge=-3000, le=2200)]
Sort = Literal["relevance", "newest", "title", "popularity"]


class Contributor(Strict):
    name: Line
    role: ShortLine = "author"


class Classification(Strict):
    scheme: ShortLine
    value: ShortLine


class OriginalScript(Strict):
    """What a romanised field says in the script of the book itself."""

    field: Literal["title", "contributor", "publisher", "place", "edition", "series", "subject", "summary"]
    value: Line


class IdentifierCreate(Strict):
    type: IdentifierType
    value: ShortLine


class IdentifierRead(Read):
    type: IdentifierType
    value: str
    normalized: str | None
    valid: bool


class BookFields(Strict):
    """What both a new book and a change of one may hold."""

    subtitle: Line | None = None
    sort_title: Annotated[Line | None, Field(description="Files the title where that is not its first word")] = None
    alternative_titles: Annotated[list[Line], Field(max_length=100)] = []
    original_script: Annotated[list[OriginalScript], Field(max_length=200)] = []
    contributors: Annotated[list[Contributor], Field(max_length=200)] = []
    edition: Line | None = None
    publisher: Line | None = None
    place: Line | None = None
    year: Year | None = None
    date: ShortLine | None = None
    languages: Annotated[list[Language], Field(max_length=20)] = []
    summary: Prose | None = None
    physical_description: Line | None = None
    series: Annotated[list[Line], Field(max_length=50)] = []
    identifiers: Annotated[list[IdentifierCreate], Field(max_length=500)] = []
    classifications: Annotated[list[Classification], Field(max_length=50)] = []
    subjects: Annotated[list[Line], Field(max_length=200)] = []
    suppressed: bool = False


class BookCreate(BookFields):
    title: Line


class BookUpdate(BookFields):
    """A change: only the fields sent are touched; null empties those that may be empty."""

    title: Line = ""


class BookDocument(Read):
    """A book's public JSON as it is stored, without id and version."""

    title: str
    subtitle: str | None
    sort_title: str | None
    alternative_titles: list[str]
    original_script: list[OriginalScript]
    contributors: list[Contributor]
    edition: str | None
    publisher: str | None
    place: str | None
    year: int | None
    date: str | None
    languages: list[str]
    summary: str | None
    physical_description: str | None
    series: list[str]
    identifiers: list[IdentifierRead]
    classifications: list[Classification]
    subjects: list[str]
    suppressed: bool
    created_at: datetime
    updated_at: datetime


class BookRead(BookDocument):
    id: int
    version: int


class Availability(Read):
    """Live counts: copies that exist, copies on the shelf and free, readers waiting."""

    total: int
    available: int
    waiting: int


class BookListItem(BookRead):
    """A book in a list; `availability` is there only when it was asked for."""

    availability: Availability | None = None


class BookPage(Read):
    items: list[BookListItem]
    next: str | None
    corrected: Annotated[str | None, Field(description="The query that was answered instead of a misspelt one")]
    hint: Annotated[str | None, Field(description="Why there is no further page though there may be more books")]


class BookQuery(Strict):
    """Which books, in which order."""

    q: Annotated[
        str | None,
        Field(
            max_length=500,
            description='Words in any form, "a phrase", the beginning of a word (dun*), or an ISBN in any notation',
        ),
    ] = None
    author: Annotated[str | None, Field(max_length=200)] = None
    subject: Annotated[str | None, Field(max_length=200)] = None
    language: Language | None = None
    year_from: Annotated[Year | None, Field(strict=False)] = None
    year_to: Annotated[Year | None, Field(strict=False)] = None
    branch: Annotated[Code | None, Field(description="Only books with a copy of this branch")] = None
    available: Annotated[bool | None, Field(strict=False, description="Only books with a copy on the shelf now")] = None
    suppressed: Annotated[bool | None, Field(strict=False, description="Librarians: only suppressed ones")] = None
    sort: Annotated[Sort | None, Field(description="Relevance with `q`, newest without, unless said otherwise")] = None
    cursor: Annotated[str | None, Field(max_length=1_024)] = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, strict=False)] = DEFAULT_LIMIT
    include: Literal["availability"] | None = None


class Suggestion(Read):
    id: int
    title: str


class Suggestions(Read):
    items: list[Suggestion]


class Facet(Read):
    """A value to filter by, what a person reads of it, and how many of the books found have it."""

    value: str
    label: str
    count: int


class BookFacets(Read):
    """What the books found have in common, the most frequent first.

    At most 1,000 books are counted; `is_capped` says that there are more, so that a count shown is "n+".
    """

    count: int
    is_capped: bool
    language: list[Facet]
    author: list[Facet]
    subject: list[Facet]
    year: list[Facet]
    branch: list[Facet]
    available: int
