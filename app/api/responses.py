"""Answers: ready JSON bytes with their tag, and 304 for whoever has them already."""

import hashlib
import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel

from app.books.paging import Page
from app.core.versioning import etag

JSON: Final = "application/json"
VARY: Final = "Authorization"
SURROGATE_KEY: Final = "Surrogate-Key"
"""By what a proxy on the way may drop an answer: `catalogue`, and `book-7` where it is about one book."""

CATALOGUE = "no-cache"
"""May be kept, must be asked for again each time: cheap with the tag, and never stale."""


def versioned(request: Request, body: str | BaseModel, version: int) -> Response:
    """One versioned thing; its ETag is its version."""
    text = body if isinstance(body, str) else body.model_dump_json()
    return _tagged(request, text.encode(), etag(version))


def tagged(request: Request, body: str | BaseModel) -> Response:
    """A list or another answer whose tag is the digest of its bytes."""
    encoded = (body if isinstance(body, str) else body.model_dump_json()).encode()
    return _tagged(request, encoded, digest(encoded))


def digest(body: bytes) -> str:
    """The tag of these bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def is_held(asked: str | None, tag: str) -> bool:
    """Whether an If-None-Match names the tag, in strong or weak spelling. Source: RFC 9110, 13.1.2."""
    if not asked:
        return False
    return asked.strip() == "*" or tag in {item.strip().removeprefix("W/") for item in asked.split(",")}


def _tagged(request: Request, body: bytes, tag: str) -> Response:
    headers = {"ETag": tag, "Cache-Control": CATALOGUE, "Vary": VARY}
    if is_held(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JSON)


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """The Link header to the next page, relative, so that no proxy's host name is needed."""
    if cursor is None:
        return {}
    return {"Link": link_to_next(request.url.path, request.query_params.multi_items(), cursor)}


def link_to_next(path: str, given: Iterable[tuple[str, str]], cursor: str) -> str:
    """The value of a Link header: the same question, after the cursor."""
    asked = [(name, value) for name, value in given if name != "cursor"]
    return f'<{path}?{urlencode([*asked, ("cursor", cursor)])}>; rel="next"'


def page_json(page: Page, items: Iterable[str]) -> str:
    """A BookPage of items that are JSON already."""
    members = json.dumps({"next": page.next, "corrected": page.corrected, "hint": page.hint}, ensure_ascii=False)
    return f'{{"items":[{",".join(items)}],{members[1:-1]}}}'
