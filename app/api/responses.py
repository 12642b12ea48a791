"""Answers: ready JSON bytes with their tag, and 304 for whoever has them already."""

import hashlib

from fastapi import Request, Response
from pydantic import BaseModel

from app.core.versioning import etag

CATALOGUE = "no-cache"
"""May be kept, must be asked for again each time: cheap with the tag, and never stale."""


def versioned(request: Request, body: str | BaseModel, version: int) -> Response:
    """One versioned thing; its ETag is its version."""
    text = body if isinstance(body, str) else body.model_dump_json()
    return _tagged(request, text.encode(), etag(version))


def tagged(request: Request, body: str | BaseModel) -> Response:
    """A list or another answer whose tag is the digest of its bytes."""
    encoded = (body if isinstance(body, str) else body.model_dump_json()).encode()
    return _tagged(request, encoded, f'"{hashlib.blake2b(encoded, digest_size=12).hexdigest()}"')


def _tagged(request: Request, body: bytes, tag: str) -> Response:
    headers = {"ETag": tag, "Cache-Control": CATALOGUE, "Vary": "Authorization"}
    asked = request.headers.get("if-none-match")
    if asked and (asked.strip() == "*" or tag in {item.strip().removeprefix("W/") for item in asked.split(",")}):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """The Link header to the next page, relative, so that no proxy's host name is needed."""
    if cursor is None:
        return {}
    url = request.url.include_query_params(cursor=cursor)
    return {"Link": f'<{url.path}?{url.query}>; rel="next"'}
