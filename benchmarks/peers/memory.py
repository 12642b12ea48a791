"""FastAPI as its tutorials teach it, with the books in memory: a path operation, a response model."""

import json
import os
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Contributor(BaseModel):
    name: str
    role: str


class Classification(BaseModel):
    scheme: str
    value: str


class Original(BaseModel):
    field: str
    value: str


class Identifier(BaseModel):
    type: str
    value: str
    normalized: str | None
    valid: bool


class Book(BaseModel):
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


class Page(BaseModel):
    items: list[Book]
    next: str | None


_page = Page.model_validate(json.loads(Path(os.environ["BENCH_BODY"]).read_bytes()))


@app.get("/books")
async def books() -> Page:
    return _page
