"""Litestar with msgspec structs, the books in memory."""

import os
from pathlib import Path

import msgspec
from litestar import Litestar, get


class Contributor(msgspec.Struct):
    name: str
    role: str


class Classification(msgspec.Struct):
    scheme: str
    value: str


class Original(msgspec.Struct):
    field: str
    value: str


class Identifier(msgspec.Struct):
    type: str
    value: str
    normalized: str | None
    valid: bool


class Book(msgspec.Struct):
    id: int
    version: int
    title: str
    subtitle: str | None
    sort_title: str | None
    alternative_titles: list[str]
    original_script: list[Original]
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
    identifiers: list[Identifier]
    classifications: list[Classification]
    subjects: list[str]
    suppressed: bool
    created_at: str
    updated_at: str


class Page(msgspec.Struct):
    items: list[Book]
    next: str | None


_page: Page = msgspec.json.decode(Path(os.environ["BENCH_BODY"]).read_bytes(), type=Page)


@get("/books")
async def books() -> Page:
    return _page


app = Litestar([books])
